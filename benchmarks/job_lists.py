"""What a page of a long list of jobs costs, the first and one far down, with each filter; as a peer, OFFSET.

    python benchmarks/job_lists.py --jobs 1000000 --page 10000 --rounds 20

A project has so many jobs. Its pages of 50 are asked of the real api over HTTP in turns. What hardly any job
has (a tag, a model, an alpha, a status, a pair of metadata) is the hardest filter: it fits twenty jobs, at
the far end. Prints one JSON line: milliseconds (median, most) of each, and how many times longer page
``--page`` takes than the first.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import Connection, text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import Served, served
from neftune_store.paging import Place, encode_cursor
from tests.factories import make_dataset, make_spec

_FILL = """
    INSERT INTO jobs (id, project_id, model, alpha, tags, spec, spec_sha256, dataset_id, created_at, status,
                      finished_at, error_code, last_seq)
    SELECT 'job_01' || lpad(to_hex(n), 24, '0'), :project,
           CASE WHEN n < 20 THEN 'org/rare' WHEN n % 3 = 0 THEN 'org/large' ELSE 'org/base' END,
           CASE WHEN n < 20 THEN 7.25 ELSE (n % 4) * 5 END,
           tags,
           CAST(:spec AS jsonb) || jsonb_build_object('tags', tags, 'metadata',
                     CASE WHEN n < 20 THEN '{"suite": "rare"}'::jsonb
                          WHEN n % 3 = 0 THEN '{}'::jsonb
                          ELSE jsonb_build_object('user', 'u' || n % 1000, 'team', 'all') END),
           repeat('a', 64), :dataset, timestamptz '2026-01-01' + n * interval '7 seconds',
           state, CASE WHEN state <> 'paused' THEN now() END,
           CASE WHEN state = 'failed' THEN 'cuda_oom' END, 2
    FROM (SELECT n,
                 CASE WHEN n < 20 THEN ARRAY['rare'] WHEN n % 100 = 0 THEN ARRAY['team', 'one in 100']
                      WHEN n % 2 = 0 THEN ARRAY['team'] ELSE ARRAY[]::text[] END AS tags,
                 CASE WHEN n < 20 THEN 'paused' WHEN n % 50 = 0 THEN 'failed' ELSE 'cancelled' END AS state
          FROM generate_series(CAST(:first AS bigint), :last) AS n) AS made
"""
FILTERS = {
    "none": "/jobs",
    "status": "/jobs?status=cancelled",
    "model": "/jobs?model=org/large",
    "alpha": "/jobs?alpha_min=4&alpha_max=6",
    "tag": "/jobs?tag=team",
    "tag_one_in_100": "/jobs?tag=one+in+100",
}
RARE = {
    "rare_status": "/jobs?status=paused",
    "rare_model": "/jobs?model=org/rare",
    "rare_alpha": "/jobs?alpha_min=7&alpha_max=8",
    "rare_tag": "/jobs?tag=rare",
    "rare_metadata": "/v1/fine_tuning/jobs?metadata[suite]=rare",
    "metadata_one_in_1000": "/v1/fine_tuning/jobs?metadata[user]=u7",
    "metadata_none": "/v1/fine_tuning/jobs?metadata=null",
    "metadata_all": "/v1/fine_tuning/jobs?metadata[team]=all",
    "no_tag": "/jobs?tag=nobody",
}


def main() -> None:
    """Fill, then ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--page", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with served() as api:
        _fill(api, given.jobs)
        told = _asked(api, given.page, given.rounds)
    sys.stdout.write(
        json.dumps({"benchmark": "job_lists", "jobs": given.jobs, "page": given.page, **told}) + "\n"
    )


def _fill(api: Served, jobs: int) -> None:
    dataset = make_dataset(api.engine, api.project_id)
    spec = make_spec(dataset.id, model="org/base").model_dump(mode="json")
    with api.engine.begin() as line:
        line.execute(text("ALTER TABLE jobs DISABLE TRIGGER USER"))  # the guard: these have never run
    for first in range(0, jobs, 100_000):
        with api.engine.begin() as line:
            line.execute(text("SET LOCAL statement_timeout = 0"))
            line.execute(
                text(_FILL),
                {
                    "project": api.project_id,
                    "dataset": dataset.id,
                    "spec": json.dumps(spec),
                    "first": first,
                    "last": min(first + 100_000, jobs) - 1,
                },
            )
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
        line.execute(text("ALTER TABLE jobs ENABLE TRIGGER USER"))
        line.execute(text("SET statement_timeout = 0"))
        line.execute(text("VACUUM ANALYZE jobs"))


def _asked(api: Served, page: int, rounds: int) -> dict[str, object]:
    client = api.client()

    def get(path: str, cursor: str | None = None) -> None:
        url = httpx.URL(path)
        answer = client.get(url if cursor is None else url.copy_add_param("cursor", cursor))
        answer.raise_for_status()

    arms: dict[str, Callable[[], None]] = {}
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
        for name, path in FILTERS.items():
            arms[f"{name}, first page"] = partial(get, path)
            arms[f"{name}, page {page}"] = partial(get, path, cursor=_far(line, api, name, 50 * (page - 1)))
        arms |= {name: partial(get, path) for name, path in RARE.items()}
        arms[f"OFFSET, page {page}"] = partial(_offset, line, api, 50 * (page - 1))
        took: dict[str, list[float]] = {arm: [] for arm in arms}
        for turn in range(rounds + 1):
            for arm, ask in arms.items():
                if turn > 2 and arm.startswith("OFFSET"):
                    continue  # it is slow, and does not vary
                began = time.perf_counter()
                ask()
                if turn:  # the first round warms up
                    took[arm].append(1000 * (time.perf_counter() - began))
    medians = {arm: statistics.median(found) for arm, found in took.items()}
    return {
        "ms": {arm: [round(medians[arm], 1), round(max(found), 1)] for arm, found in took.items()},
        "times_the_first": {
            name: round(medians[f"{name}, page {page}"] / medians[f"{name}, first page"], 2)
            for name in FILTERS
        },
        "times_the_first_by_offset": round(medians[f"OFFSET, page {page}"] / medians["none, first page"], 1),
    }


_FITS = {
    "none": "true",
    "status": "status = 'cancelled'",
    "model": "model = 'org/large'",
    "alpha": "alpha BETWEEN 4 AND 6",
    "tag": "'team' = ANY(tags)",
    "tag_one_in_100": "'one in 100' = ANY(tags)",
}


def _far(line: Connection, api: Served, name: str, before: int) -> str:
    """Give the cursor after so many jobs that fit, or after four fifths of them where there are fewer."""
    line.execute(text("SET statement_timeout = 0"))
    fits = f"project_id = :project AND {_FITS[name]}"
    count = line.scalar(text(f"SELECT count(*) FROM jobs WHERE {fits}"), {"project": api.project_id})
    order = "ORDER BY created_at DESC, id DESC OFFSET :before LIMIT 1"
    found = text(f"SELECT created_at, id FROM jobs WHERE {fits} {order}")
    offset = min(before, int(0.8 * (count or 0)))
    return encode_cursor(Place(*line.execute(found, {"project": api.project_id, "before": offset}).one()))


def _offset(line: Connection, api: Served, before: int) -> None:
    page = text(
        "SELECT * FROM jobs WHERE project_id = :project AND deleted_at IS NULL "
        "ORDER BY created_at DESC, id DESC OFFSET :before LIMIT 51"
    )
    line.execute(page, {"project": api.project_id, "before": before}).all()


if __name__ == "__main__":
    main()
