"""Datasets: sealed, listed by page, deleted only when no unfinished job needs them."""

import pytest
from sqlalchemy import Engine

from neftune_store.datasets import DatasetLedger
from neftune_store.db import unit_of_work
from neftune_store.errors import DatasetInUse, DatasetNotFound
from neftune_store.lifecycle import TERMINAL, Status
from tests.factories import make_dataset, make_job, make_project


def test_a_dataset_is_what_was_written_down(engine: Engine) -> None:
    given = make_dataset(engine, name="r\x00ows", rows=3, stats={"turns": 2}, warnings=[{"code": "bom"}])
    with unit_of_work(engine) as session:
        assert DatasetLedger(session).get(given.project_id, given.id) == given
    assert (given.name, given.rows, given.warnings) == ("r\ufffdows", 3, ({"code": "bom"},))


def test_the_same_bytes_twice_are_two_datasets_on_one_blob(engine: Engine) -> None:
    one = make_dataset(engine)
    two = make_dataset(engine, one.project_id, sha256=one.sha256)
    assert one.id != two.id
    assert one.blob_key == two.blob_key


def test_a_foreign_dataset_and_an_unknown_one_are_the_same(engine: Engine) -> None:
    theirs, mine = make_dataset(engine), make_project(engine).id
    for dataset_id in (theirs.id, "ds_0000000000000000000000000a", "", "ds_\x00", "job_x"):
        for ask in ("get", "delete"):
            with pytest.raises(DatasetNotFound), unit_of_work(engine) as session:
                getattr(DatasetLedger(session), ask)(mine, dataset_id)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSED])
def test_a_dataset_in_use_stays(engine: Engine, status: Status) -> None:
    rows, held_out = make_dataset(engine), None
    held_out = make_dataset(engine, rows.project_id)
    make_job(engine, dataset=rows, validation={"dataset": held_out.id}, status=status)
    for dataset in (rows, held_out):
        with pytest.raises(DatasetInUse), unit_of_work(engine) as session:
            DatasetLedger(session).delete(rows.project_id, dataset.id)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_dataset_no_longer_needed_goes(engine: Engine, status: Status) -> None:
    job = make_job(engine, status=status)
    with unit_of_work(engine) as session:
        DatasetLedger(session).delete(job.project_id, job.dataset_id)
    with unit_of_work(engine) as session:
        ledger = DatasetLedger(session)
        assert ledger.list(job.project_id).items == ()
        with pytest.raises(DatasetNotFound):
            ledger.delete(job.project_id, job.dataset_id)


def test_pages_are_newest_first_and_complete(engine: Engine) -> None:
    project = make_project(engine)
    there = [make_dataset(engine, project.id).id for _ in range(5)]
    make_dataset(engine)
    seen: list[str] = []
    cursor = None
    while True:
        with unit_of_work(engine) as session:
            page = DatasetLedger(session).list(project.id, cursor, 2)
        seen += [dataset.id for dataset in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == there[::-1]
