"""One job's way through a real Celery worker, with the toy runner."""

from worker_house import House


def test_a_queued_job_is_claimed_run_and_settled(house: House) -> None:
    # Given a worker
    worker = house.start()
    # When a job is submitted
    job = house.submit("steps=5 sleep=0.02")
    done = house.wait(job, "succeeded", "failed")
    # Then it succeeds, each step stands once
    assert done.status == "succeeded", house.logs()
    assert house.steps(job) == [0, 1, 2, 3, 4, 5]
    assert worker.poll() is None
