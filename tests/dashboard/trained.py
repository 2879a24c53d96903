"""A finished series on the bundled base, made over the API: as small as one can be, a control and alpha 5."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from standalone.demo import dataset as demo
from tests.standalone.instance import Instance
from tests.standalone.processes import eventually

NAME = "dusk"
ROWS = 24
LONG = 240  # seconds: two runs, each of which may need half a minute to begin on a busy machine
_ENDED = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class Series:
    """What it is made of, and the id of each of its runs."""

    id: str
    dataset: str
    control: str
    noisy: str


def job(dataset: str, **more: Any) -> dict[str, Any]:
    """A spec that trains for a second."""
    training = {
        "max_steps": 4,
        "batch_size": 4,
        "max_length": 64,
        "learning_rate": 2e-3,
        "eval_every": 2,
        "save_every": 2,
    }
    return {
        "model": "neftune/demo-base",
        "dataset": dataset,
        "validation": {"split": 0.25},
        "training": training,
        **more,
    }


def trained(service: Instance) -> Series:
    with service.client() as client:
        dataset = uploaded(client)
        body = {"job": job(dataset, name=NAME), "alpha": [5], "seed": [1]}
        sweep = client.post("/sweeps", json=body).raise_for_status().json()["id"]
        assert eventually(lambda: _told(client, sweep)["status"] in _ENDED, LONG)
        told = _told(client, sweep)
        assert told["status"] == "succeeded", told
        runs = {one["alpha"]: one["job"] for one in told["results"]}
    return Series(sweep, dataset, runs[0], runs[5])


def uploaded(client: httpx.Client) -> str:
    rows = demo.PATH.read_text("utf-8").splitlines()[:ROWS]
    assert all(map(json.loads, rows))
    made = client.post("/datasets", params={"name": NAME}, content="\n".join(rows).encode())
    identity: str = made.raise_for_status().json()["id"]
    return identity


def _told(client: httpx.Client, sweep: str) -> Any:
    return client.get(f"/sweeps/{sweep}").json()
