"""The supervisor and its runner: what is said, what is kept, how it ends. Real Celery worker, toy runner."""

import hashlib
import io
import json
import tarfile

import pytest
from sqlalchemy import text

from tests.worker_house import MODEL, House, until


def test_a_job_is_claimed_run_published_and_settled(busy_house: House) -> None:
    job = busy_house.submit("steps=5 sleep=0.02")
    done = busy_house.wait(job, "succeeded", "failed")
    assert (done.status, done.attempt, done.error_code) == ("succeeded", 1, None)
    assert busy_house.steps(job) == [0, 1, 2, 3, 4, 5]
    assert done.progress is not None
    assert (done.progress["step"], done.progress["total_steps"]) == (5, 5)
    names = busy_house.events(job)
    assert names[0] == "job.queued"
    assert names[-1] == "job.succeeded"
    assert [name for name in names if name[:4] == "run."] == ["run.started", "run.planned", "run.completed"]


def test_the_runner_reads_the_very_spec_and_rows_that_were_asked_for(busy_house: House) -> None:
    # Given a job in which nothing that matters has its default
    rows = busy_house.dataset(b'{"instruction": "a", "input": "", "output": "b"}\n')
    held_out = busy_house.dataset(b'{"instruction": "c", "input": "", "output": "d"}\n')
    job = busy_house.submit(
        "steps=1 inputs=1",
        dataset=rows.id,
        validation={"dataset": held_out.id},
        alpha=7.25,
        noise={"clean_loss_every": 3},
        lora={"r": 4, "lora_alpha": 9},
        training={"learning_rate": 0.003, "batch_size": 2, "max_length": 99, "seed": 7},
    )
    busy_house.wait(job, "succeeded")
    # Then its runner finds all of it in its files
    read = next(fact.data for fact in busy_house.facts(job) if fact.name == "run.inputs")
    assert read["spec"] == job.spec
    assert (read["spec"]["alpha"], read["spec"]["training"]["seed"]) == (7.25, 7)
    assert (read["rows"], read["validation_rows"]) == (rows.sha256, held_out.sha256)
    assert read["model"] == str(busy_house.root / "models" / MODEL)


def test_a_follower_hears_all_in_the_order_of_the_runner(busy_house: House) -> None:
    job = busy_house.submit("steps=2")  # so short that all of it is written in one batch
    busy_house.wait(job, "succeeded")
    heard = busy_house.feed(job)
    said = heard[heard.index("run.planned") : heard.index("job.succeeded")]
    assert said == ["run.planned", "step 0", "step 1", "step 2", "run.completed"]


def test_artifacts_are_the_bytes_of_the_runner_under_their_hashes(busy_house: House) -> None:
    job = busy_house.submit("steps=2")
    busy_house.wait(job, "succeeded")
    found = busy_house.artifacts(job)
    assert sorted(found) == [
        "adapter",
        "adapter/README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "log",
        "metrics.csv",
        "record",
        "report.html",
        "report.json",
        "results.csv",
    ]
    for artifact in found.values():
        data = busy_house.content(artifact)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.sha256, artifact.bytes)
    with tarfile.open(fileobj=io.BytesIO(busy_house.content(found["adapter"]))) as tar:
        names = tar.getnames()
    assert names == ["adapter/README.md", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
    assert json.loads(busy_house.content(found["record"]))["toy"] is True


def test_the_same_result_has_the_same_hash_in_every_job(busy_house: House) -> None:
    dataset = busy_house.dataset()
    first = busy_house.submit("steps=1", dataset=dataset.id)
    second = busy_house.submit("steps=1", dataset=dataset.id)
    hashes = set()
    for job in (first, second):
        busy_house.wait(job, "succeeded")
        hashes.add(busy_house.artifacts(job)["adapter"].sha256)
    assert len(hashes) == 1


def test_metrics_csv_is_the_table_of_metrics(busy_house: House) -> None:
    job = busy_house.submit("steps=3")
    busy_house.wait(job, "succeeded")
    lines = busy_house.content(busy_house.artifacts(job)["metrics.csv"]).decode().splitlines()
    assert lines[0] == "step,train_loss,epoch,learning_rate"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["0", "2.0"],
        ["1", "1.0"],
        ["2", str(2 / 3)],
        ["3", "0.5"],
    ]


def test_a_report_has_the_metrics_and_what_was_asked(busy_house: House) -> None:
    job = busy_house.submit("steps=3", name="<b>fruit</b>", alpha=7.25)
    busy_house.wait(job, "succeeded")
    found = busy_house.artifacts(job)
    told = json.loads(busy_house.content(found["report.json"]))
    assert (told["title"], told["of"]) == ("<b>fruit</b>", "run")
    assert {"noisy_curve", "no_control"} <= {one["code"] for one in told["caveats"]}
    (curves,) = (block for one in told["sections"] for block in one["blocks"] if block["type"] == "lines")
    assert curves["lines"][0]["points"] == [[0, 2.0], [1, 1.0], [2, 2 / 3], [3, 0.5]]
    page = busy_house.content(found["report.html"]).decode()
    assert found["report.html"].media_type == "text/html; charset=utf-8"
    assert "&lt;b&gt;fruit&lt;/b&gt;" in page
    assert "<b>" not in page


def test_results_csv_has_the_columns_that_readers_of_result_files_know(busy_house: House) -> None:
    job = busy_house.submit("steps=2")
    busy_house.wait(job, "succeeded")
    lines = busy_house.content(busy_house.artifacts(job)["results.csv"]).decode().splitlines()
    known = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert lines[0] == f"{known},epoch,learning_rate"
    assert [line.split(",")[:5] for line in lines[1:]] == [
        ["0", "2.0", "", "", ""],
        ["1", "1.0", "", "", ""],
        ["2", str(2 / 3), "", "", ""],
    ]


def test_the_runner_sees_no_secret(busy_house: House) -> None:
    job = busy_house.submit("steps=1 environ=1")
    busy_house.wait(job, "succeeded")
    seen = next(fact.data for fact in busy_house.facts(job) if fact.name == "run.environ")
    environ = seen["environ"]
    allowed = {
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "HOME", "TMPDIR", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"),
        *("HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"),
        *("TOKENIZERS_PARALLELISM", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8"),
    }
    assert set(environ) <= allowed
    assert environ["HF_HUB_OFFLINE"] == environ["TRANSFORMERS_OFFLINE"] == "1"
    assert environ["HOME"].startswith(str(busy_house.work_dir))
    everything = json.dumps(environ)
    for secret in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "HF_TOKEN"):
        assert busy_house.environ[secret] not in everything
    # stdin, stdout, stderr, the report pipe, and the folder being listed: no socket of ours
    assert len(seen["open_files"]) == 5


def test_nothing_is_left_in_the_work_folder(busy_house: House) -> None:
    job = busy_house.submit("steps=1")
    busy_house.wait(job, "succeeded")
    assert until(lambda: not [path.name for path in busy_house.work_dir.glob("run-*")], 5)


def test_a_cancelled_run_ends_within_seconds(busy_house: House) -> None:
    job = busy_house.submit("steps=1000 sleep=0.05")
    busy_house.wait_for_step(job, 2)
    busy_house.cancel(job)
    assert busy_house.wait(job, "cancelled", seconds=10).attempt == 1  # by itself it would take 50 seconds
    assert busy_house.events(job).count("job.cancelled") == 1


def test_a_deaf_runner_is_killed(busy_house: House) -> None:
    job = busy_house.submit("steps=1000 sleep=0.05 deaf=1")
    busy_house.wait_for_step(job, 2)
    busy_house.cancel(job)
    busy_house.wait(job, "cancelled", seconds=15)  # STOP_SECONDS is 2; by itself it would take 50
    assert not [line for line in busy_house.left_behind() if "--report-fd" in line]


def test_a_paused_run_rests_and_runs_again(busy_house: House) -> None:
    job = busy_house.submit("steps=20 sleep=0.1")
    busy_house.wait_for_step(job, 2)
    busy_house.pause(job)
    assert busy_house.wait(job, "paused", "succeeded", seconds=15).status == "paused"
    assert busy_house.job(job).crashes == 0
    busy_house.resume(job)
    done = busy_house.wait(job, "succeeded")
    assert done.attempt == 2
    assert busy_house.steps(job) == list(range(21))


@pytest.mark.fault("F46")
def test_a_log_flood_is_bounded_and_its_end_is_kept(busy_house: House) -> None:
    job = busy_house.submit("steps=1 log=64 print=the-last-line")
    busy_house.wait(job, "succeeded")
    log = busy_house.artifacts(job)["log"]
    assert log.bytes < 200_000 + 100  # MAX_LOG_BYTES and the note that it was cut
    assert busy_house.log_tail(job).rstrip().endswith("the-last-line")


def test_a_line_of_ten_megabytes_is_refused_and_the_run_goes_on(busy_house: House) -> None:
    job = busy_house.submit("steps=3 longline=10000000")
    assert busy_house.wait(job, "succeeded", "failed").status == "succeeded"
    assert "run.long" not in busy_house.events(job)
    assert "longer than 65536 bytes" in busy_house.log_tail(job)
    assert busy_house.steps(job) == [0, 1, 2, 3]


def test_lines_that_are_no_messages_are_refused_and_the_run_goes_on(busy_house: House) -> None:
    job = busy_house.submit("steps=3 badjson=3 nul=1")
    assert busy_house.wait(job, "succeeded", "failed").status == "succeeded"
    assert "report line 2 refused: not a message" in busy_house.log_tail(job)
    assert busy_house.steps(job) == [0, 1, 2, 3]


def test_a_runner_that_speaks_only_nonsense_is_ended(busy_house: House) -> None:
    job = busy_house.submit("steps=100 sleep=1 badjson=2000")
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("internal", 2)  # a bug: tried once more


def test_a_runner_cannot_tell_the_services_own_facts(busy_house: House) -> None:
    job = busy_house.submit("steps=1 forge=1")
    assert busy_house.wait(job, "succeeded", "failed").status == "succeeded"
    names = busy_house.events(job)
    assert names.count("run.started") == 1
    assert names.count("job.succeeded") == 1


def test_steps_go_forward_only(busy_house: House) -> None:
    job = busy_house.submit("steps=3 backwards=1")
    busy_house.wait(job, "succeeded")
    with busy_house.engine.connect() as connection:
        numbers = connection.execute(
            text("SELECT numbers FROM metrics WHERE job_id = :job AND step = 1"), {"job": job.id}
        ).scalar_one()
    assert numbers["train_loss"] == 1.0


def test_a_result_outside_the_output_folder_is_refused(busy_house: House) -> None:
    job = busy_house.submit("steps=1 escape=1")
    done = busy_house.wait(job, "failed")
    assert done.error_code == "internal"
    assert list(busy_house.artifacts(job)) == ["log"]


def test_a_reason_to_fail_is_kept_with_the_job_and_not_tried_again(busy_house: House) -> None:
    job = busy_house.submit("steps=5 fail=2 code=nan_loss print=before-the-end")
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("nan_loss", 1)
    assert done.error_message == "The toy was told to fail."
    assert "before-the-end" in busy_house.log_tail(job)
    assert b"before-the-end" in busy_house.content(busy_house.artifacts(job)["log"])


def test_a_retryable_reason_is_tried_again(busy_house: House) -> None:
    job = busy_house.submit("steps=5 fail=2 code=model_download retryable=1")
    again = until(lambda: now if (now := busy_house.job(job)).attempt >= 2 else None, 10)
    assert again.infra_errors >= 1
    busy_house.cancel(job)
    busy_house.wait(job, "cancelled")


def test_a_runner_that_crashes_once_runs_again(busy_house: House) -> None:
    marker = busy_house.root / "crashed-once"
    job = busy_house.submit(f"steps=5 once=3 marker={marker}")
    done = busy_house.wait(job, "succeeded")
    assert (done.attempt, busy_house.steps(job)) == (2, [0, 1, 2, 3, 4, 5])
    assert {"run.lost", "job.requeued", "rewound"} <= set(busy_house.events(job))


@pytest.mark.parametrize("toy", ["die=2", "exit=3 empty=1", "exit=75 empty=1"])
def test_a_runner_that_always_crashes_fails_after_three_runs(busy_house: House, toy: str) -> None:
    job = busy_house.submit(f"steps=3 {toy}")
    until(lambda: busy_house.job(job).crashes == 2, 10)
    busy_house.hurry(job)
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("worker_crashed", 3)


def test_an_end_without_a_result_is_no_success(busy_house: House) -> None:
    job = busy_house.submit("steps=1 empty=1")
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("internal", 2)


@pytest.mark.long  # faults/test_runners.py freezes one
@pytest.mark.fault("F13")
def test_a_silent_runner_is_stalled_and_tried_once_more(busy_house: House) -> None:
    job = busy_house.submit("steps=5 hang=2")
    done = busy_house.wait(job, "failed", seconds=30)
    assert (done.error_code, done.attempt) == ("stalled", 2)


def test_running_time_counts_over_all_attempts(busy_house: House) -> None:
    # Given a job that has run for 58 of its 60 seconds
    job = busy_house.submit("steps=1000 sleep=0.05", rung=False, resources={"max_minutes": 1}, paused=True)
    with busy_house.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO runs (id, job_id, attempt, fence, worker, started_at, ended_at, outcome)"
                " VALUES ('run_earlier', :job, 0, 0, 'w', now() - interval '58 s', now(), 'lost')"
            ),
            {"job": job.id},
        )
    # When it runs again
    busy_house.resume(job)
    # Then it ends by its limit
    done = busy_house.wait(job, "failed", seconds=10)
    assert (done.error_code, done.attempt) == ("time_limit", 1)
    with busy_house.engine.begin() as connection:  # it was none of the job's attempts
        connection.execute(text("DELETE FROM runs WHERE id = 'run_earlier'"))


def test_a_dataset_whose_bytes_have_changed_is_not_trained_on(busy_house: House) -> None:
    dataset = busy_house.dataset(b'{"instruction": "a", "input": "", "output": "b"}\n')
    blob = busy_house.root / "blobs" / dataset.blob_key
    sealed = blob.read_bytes()
    blob.write_bytes(sealed.replace(b"a", b"c", 1))
    job = busy_house.submit("steps=1", dataset=dataset.id)
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("dataset_corrupt", 1)
    assert busy_house.steps(job) == []
    blob.write_bytes(sealed)


def test_an_unknown_model_fails_without_a_runner(busy_house: House) -> None:
    job = busy_house.submit("steps=1", model="toy/absent")
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("model_not_available", 1)


def test_a_record_that_cannot_be_kept_ends_the_job_and_not_the_worker(busy_house: House) -> None:
    job = busy_house.submit("steps=1 deep=700")
    done = busy_house.wait(job, "failed")
    assert (done.error_code, done.attempt) == ("internal", 2)
    assert busy_house.wait(busy_house.submit("steps=1"), "succeeded").attempt == 1


def test_what_a_runner_started_goes_with_it(busy_house: House) -> None:
    job = busy_house.submit("steps=2 child=1")
    busy_house.wait(job, "succeeded")
    assert until(lambda: not [line for line in busy_house.left_behind() if "--report-fd" in line], 5)
