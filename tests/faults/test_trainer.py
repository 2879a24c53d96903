"""No finite loss, no memory, a full disk: the job ends with what the real trainer says of it."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load, load_file, save_file
from sqlalchemy import text

from neftune_store.bells import ring
from neftune_store.blobs import Blobs
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import House, house, quiet_redis
from worker.settings import DEFAULT_RUNNER

__all__ = ["house", "quiet_redis"]

MODELS = Path(__file__).parents[2] / "standalone" / "models"
DEMO, POISONED = "neftune/demo-base", "neftune/poisoned"
LOAD_SECONDS = 120.0  # importing torch on a busy machine
TRAINING = {"max_steps": 6, "batch_size": 4, "max_length": 64, "save_every": 2}


@pytest.fixture
def real(house: House) -> House:
    """A house with the real trainer and, among the models, a copy of the bundled one."""
    shutil.copytree(MODELS / DEMO, house.root / "models" / DEMO)
    house.environ["RUNNER"] = json.dumps(list(DEFAULT_RUNNER))
    return house


def poisoned(house: House, word: str) -> None:
    """Lay out a model that knows one token by no number."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only here

    folder = house.root / "models" / POISONED
    shutil.copytree(MODELS / DEMO, folder)
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights["lm_head.weight"] = embedding.copy()  # or each row would be poisoned, not the ones that say it
    (token,) = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(word, add_special_tokens=False).ids
    embedding[token] = math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))


def kept(house: House, job: Job) -> dict[int, bytes]:
    """Read the adapters of the checkpoints that are kept, by their step."""
    asked = text("SELECT step, manifest FROM checkpoints WHERE job_id = :job AND dropped_at IS NULL")
    with house.engine.connect() as connection:
        rows = connection.execute(asked, {"job": job.id}).all()
    blobs = Blobs.open(house.settings())
    return {
        row.step: b"".join(blobs.stream(file["blob_key"]))
        for row in rows
        for file in row.manifest["files"]
        if file["name"].endswith("weights.safetensors")
    }


@pytest.mark.fault("F37")
def test_rows_that_give_no_finite_loss_end_the_job_after_three_skipped_steps(real: House) -> None:
    # Given rows of which two thirds say a word that the model knows by no number
    poisoned(real, "~")
    rows = [{"instruction": f"Say {n}", "input": "", "output": "~" if n % 3 else f"{n}"} for n in range(30)]
    dataset = real.dataset(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    real.start()
    training = {**TRAINING, "max_steps": 30, "batch_size": 1, "save_every": 1}
    job = real.submit(model=POISONED, dataset=dataset.id, alpha=5.0, training=training)
    # Then the fourth step in a row that has no finite loss ends the job, with the rows and the way out
    done = real.wait(job, "failed", "succeeded", seconds=LOAD_SECONDS)
    assert (done.status, done.error_code, done.attempt) == ("failed", "nan_loss", 1), real.log_tail(job)
    assert f"4 steps in a row, the last at step {done.live_step} (rows " in done.error_message
    assert "lower the learning rate or alpha" in done.error_message
    skipped = [fact.data for fact in real.facts(job) if fact.name == "run.step_skipped"]
    assert [fact["in_a_row"] for fact in skipped[-3:]] == [1, 2, 3]
    assert [fact["step"] for fact in skipped[-3:]] == list(range(done.live_step - 3, done.live_step))
    # And its curve has null where there was no number, and its checkpoint is good to go on from
    with real.engine.connect() as connection:
        curve = connection.execute(
            text("SELECT step, numbers->>'train_loss' AS loss FROM metrics WHERE job_id = :job AND step > 0"),
            {"job": job.id},
        ).all()
    lost = {row.step for row in curve if row.loss is None}
    assert lost == {*(fact["step"] for fact in skipped), done.live_step}
    assert len(curve) > len(lost)
    last = kept(real, job)[done.committed_step]
    assert done.committed_step >= done.live_step - 4
    assert all(math.isfinite(values.sum()) for values in load(last).values())


@pytest.mark.long
@pytest.mark.fault("F38")
@pytest.mark.parametrize(
    ("where", "when"),
    [
        ("step.inside:oom", "Out of memory at step 1: "),
        ("model.loading:oom", "Out of memory outside the steps"),
        ("loss.inside:oom@4", "Out of memory outside the steps"),
    ],
    ids=["in a step", "while loading", "while measuring"],
)
def test_a_trainer_without_memory_says_what_it_held_and_what_to_do(
    real: House, where: str, when: str
) -> None:
    real.start(NEFT_TEST="1", FAILPOINTS=where)
    job = real.submit(model=DEMO, alpha=5.0, training=TRAINING, validation={"split": 0.2})
    done = real.wait(job, "failed", "succeeded", seconds=LOAD_SECONDS)
    assert (done.status, done.error_code, done.attempt) == ("failed", "cuda_oom", 1), real.log_tail(job)
    assert done.error_message.startswith(when)
    assert "lower training.micro_batch_size or max_length" in done.error_message
    assert "At its peak the run held " in done.error_message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which one checkpoint of the whole model fits, and not two; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this needs a small disk, which only root may mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.long
@pytest.mark.fault("F28")
def test_a_full_disk_ends_the_job_and_spares_its_last_checkpoint(real: House, small_disk: Path) -> None:
    # Given a worker whose disk has room for one checkpoint of this job
    api = Api(real)
    real.start(WORK_DIR=str(small_disk))
    job = real.submit(model=DEMO, method="full", alpha=5.0, training=TRAINING, validation={"split": 0})
    done = real.wait(job, "failed", "succeeded", seconds=LOAD_SECONDS)
    # Then the second one ends it, after another try with what room could be made
    assert (done.status, done.error_code, done.attempt) == ("failed", "disk_full_work", 1), real.log_tail(job)
    assert "keep_checkpoints" in done.error_message
    assert [fact.data for fact in real.facts(job) if fact.name == "checkpoint.no_room"]
    assert list(kept(real, job)) == [done.committed_step] == [2]
    # And the api is well, and with more room a retry goes on from the checkpoint
    ready = httpx.get(f"http://127.0.0.1:{api.port}/readyz", trust_env=False, timeout=20)
    assert ready.status_code == 200
    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    with unit_of_work(real.engine) as session:
        again, _ = JobLedger(session).retry(job.project_id, job.id)
    ring(real.redis_url)
    again = real.wait(again, "succeeded", "failed", seconds=LOAD_SECONDS)
    assert again.status == "succeeded", real.log_tail(again)
    assert [fact.data["step"] for fact in real.facts(again) if fact.name == "run.resumed"] == [2]


@pytest.mark.long
@pytest.mark.fault("F39")
@pytest.mark.parametrize("harm", ["truncated", "flipped"])
def test_damaged_weights_are_told_and_not_tried_again(real: House, harm: str) -> None:
    weights = real.root / "models" / DEMO / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if harm == "truncated":
        del data[-1000:]
    else:
        data[0] ^= 0xFF  # of the header's length
    weights.write_bytes(data)
    real.start()
    job = real.submit(model=DEMO, alpha=5.0, training=TRAINING)
    done = real.wait(job, "failed", "succeeded", seconds=LOAD_SECONDS)
    assert (done.status, done.error_code, done.attempt) == ("failed", "model_error", 1), real.log_tail(job)
