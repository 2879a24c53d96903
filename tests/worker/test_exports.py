"""Jobs that export: the same claim, lease and settling as any, with another verb for the runner."""

from neftune_store.db import unit_of_work
from neftune_store.jobs import JobLedger
from tests.worker_house import QUICK, House, kill, until


def test_an_export_reads_the_adapter_and_leaves_its_result_under_both_jobs(busy_house: House) -> None:
    house = busy_house
    # Given a job that was trained
    trained = house.wait(house.submit("steps=2"), "succeeded")
    # When it is exported
    export = house.wait(house.export(trained), "succeeded", "failed")
    # Then the result is made of that very adapter, and stands under the export and under what was exported
    assert export.status == "succeeded", house.log_tail(export)
    own, under = house.artifacts(export), house.artifacts(trained)
    adapter = house.content(under["adapter/adapter_model.safetensors"])
    assert house.content(own["merged/model.safetensors"]) == b"merged " + adapter
    assert {name for name in own if "merged" in name} == {name for name in under if "merged" in name}
    assert "merged" in own
    # and nothing that only training leaves
    assert not {"metrics.csv", "results.csv", "adapter"} & set(own)
    assert house.events(export)[-2:] == ["export.completed", "job.succeeded"]


def test_a_worker_killed_in_the_middle_of_an_export_costs_nothing(house: House) -> None:
    house.start("worker.reconcile")
    worker = house.start("worker", **QUICK)
    trained = house.wait(house.submit("steps=2 exporting=1.5"), "succeeded")
    export = house.export(trained)
    until(lambda: "export.loading" in house.events(export))
    # When its worker dies and another one starts
    kill(worker)
    house.start("worker", **QUICK)
    # Then it ends once, in its second run
    done = house.wait(export, "succeeded", "failed")
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert house.events(export).count("job.succeeded") == 1
    assert "merged" in house.artifacts(trained)


def test_an_export_can_be_cancelled_and_asked_for_again(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=2 exporting=20"), "succeeded")
    export = house.export(trained)
    until(lambda: "export.loading" in house.events(export))
    house.cancel(export)
    house.wait(export, "cancelled")
    assert "merged" not in house.artifacts(trained)
    # A retry is an export again, and never trains
    with unit_of_work(house.engine) as session:
        again, new = JobLedger(session).retry(export.project_id, export.id)
        assert (new, again.kind, again.of_job, again.retry_of) == (True, "export", trained.id, export.id)
        JobLedger(session).cancel(again.project_id, again.id)


def test_an_adapter_that_storage_has_lost_is_told(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=3 weights_mb=0"), "succeeded")
    artifact = house.artifacts(trained)["adapter/README.md"]
    stored = house.root / "blobs" / artifact.blob_key
    whole = stored.read_bytes()
    stored.write_bytes(b"other bytes than were published"[: len(whole)].ljust(len(whole)))
    try:
        export = house.wait(house.export(trained), "succeeded", "failed")
        assert (export.status, export.error_code) == ("failed", "adapter_corrupt")
    finally:
        stored.write_bytes(whole)
