"""What a project sees of the queue."""

import httpx

from tests.api.live_api import Service, claim, submit


def of_queue(client: httpx.Client, **query: int) -> dict[str, object]:
    answer = client.get("/queue", params=query)
    assert answer.status_code == 200
    told: dict[str, object] = answer.json()
    return told


def test_a_project_sees_its_own_jobs_in_the_order_they_are_claimed(
    client: httpx.Client, stranger: httpx.Client
) -> None:
    assert of_queue(client) == {"queued": 0, "running": 0, "oldest_queued_at": None, "items": []}
    first = submit(client, resources={"priority": 50}, name="mine")
    submit(stranger, resources={"priority": 51})
    late, early = submit(client), submit(client, resources={"priority": 52})

    told = of_queue(client)

    items = {one["job"]: one for one in told["items"]}  # type: ignore[attr-defined]  # it is a list
    assert list(items) == [early["id"], first["id"], late["id"]]
    assert items[early["id"]]["position"] < items[first["id"]]["position"]
    for job in (first, late, early):
        shown = client.get(f"/jobs/{job['id']}").json()
        assert items[job["id"]]["position"] == shown["queue"]["position"]
        assert items[job["id"]]["reason"] == shown["queue"]["reason"] == "waiting for a free worker"
    assert items[first["id"]]["name"] == "mine"
    assert (told["queued"], told["oldest_queued_at"]) == (3, first["created_at"])
    assert len(of_queue(client, limit=2)["items"]) == 2  # type: ignore[arg-type]  # as above
    assert of_queue(client, limit=2)["queued"] == 3


def test_a_job_that_runs_is_counted_and_waits_no_more(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    claim(service, job)
    told = of_queue(client)
    assert (told["queued"], told["running"], told["items"]) == (0, 1, [])
