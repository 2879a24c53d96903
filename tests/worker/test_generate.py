"""The process that answers, as it runs: real HTTP, a real child, and what is left when either dies."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from neftune_core.generation_lines import (
    Choosing,
    Done,
    Failed,
    Order,
    Piece,
    Question,
    Reply,
    Tuned,
    TunedFile,
    encode,
    said,
)
from neftune_store.blobs import Blobs, blob_key
from neftune_store.db import unit_of_work
from neftune_store.errors import BlobCorrupt, StorageUnavailable
from neftune_store.workers import Gpu, Reached, WorkerLedger
from tests.worker_house import MODEL, House, family, kill, until
from worker.generation.cupboard import Cupboard
from worker.generation.desk import Desk, DeskFull
from worker.generation.place import Place

TOY = [sys.executable, str(Path(__file__).parents[1] / "toy_speaker.py")]
NVML = """
class NVMLError(Exception):
    pass
class _Memory:
    total, used = 1 << 34, 1 << 20
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(number): return number
def nvmlDeviceGetMemoryInfo(handle): return _Memory
def nvmlDeviceGetUUID(handle): return "GPU-toy"
def nvmlDeviceGetName(handle): return "Toy GPU"
class _Rates:
    gpu = 87
def nvmlDeviceGetUtilizationRates(handle): return _Rates
NVML_TEMPERATURE_GPU = 0
def nvmlDeviceGetTemperature(handle, sensor): raise NVMLError("not supported")
"""


class Caller:
    """One order over a connection of its own."""

    def __init__(self, where: Reached, *asked: str, tuned: Tuned | None = None) -> None:
        host, _, port = where.address.rpartition(":")
        self.line = http.client.HTTPConnection(host, int(port), timeout=30)
        questions = tuple(Question(MODEL, one, "none", Choosing(), tuned=tuned) for one in asked)
        headers = {"authorization": f"Bearer {where.token}"}
        self.line.request("POST", "/orders", encode(Order(questions)), headers)
        self.answer = self.line.getresponse()

    def next(self) -> Reply | None:
        """Hear one thing; nothing at the end."""
        line = self.answer.readline()
        return said(line).reply if line else None

    def until(self, kind: type[Any]) -> Any:
        """Hear on until something of this kind is said."""
        while not isinstance(heard := self.next(), kind):
            assert heard is not None, "the line ended"
        return heard

    def text(self) -> str:
        """Hear one answer to its end."""
        pieces = []
        while (heard := self.next()) is not None and not isinstance(heard, Done | Failed):
            pieces += [heard.text] if isinstance(heard, Piece) else []
        assert isinstance(heard, Done), heard
        return "".join(pieces)

    def hang_up(self) -> None:
        self.answer.close()
        self.line.close()


def started(house: House, **settings: str) -> tuple[subprocess.Popen[bytes], Reached]:
    """Start one, and find it as the api does."""
    before = {one.id for one in reached(house)}
    process = house.start("worker.generate", GENERATOR=json.dumps(TOY), **settings)
    found = until(lambda: next((one for one in reached(house) if one.id not in before), None), 30)
    return process, found


def reached(house: House) -> list[Reached]:
    with unit_of_work(house.engine) as session:
        return list(WorkerLedger(session).answering())


def child(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    """The process that would hold the model."""
    for one in family(process.pid)[1:]:
        with contextlib.suppress(psutil.Error):
            if "--report-fd" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                return one
    return None


def counters(where: Reached) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Caller(where, "counters").text())
    return found


@pytest.fixture
def answering(house: House) -> tuple[House, subprocess.Popen[bytes], Reached]:
    process, where = started(house)
    return house, process, where


def test_nothing_is_loaded_before_the_first_question_and_then_one_child_answers_all(answering) -> None:
    _, process, where = answering
    assert child(process) is None
    caller = Caller(where, "count 3", "count 2")
    assert (caller.text(), caller.text(), caller.next()) == ("1 2 3", "1 2", None)
    assert counters(where)["tokens"] == 5
    found = child(process)
    assert found is not None
    assert counters(where)["pid"] == found.pid


def test_who_hangs_up_ends_the_answer_and_the_child_goes_on(answering) -> None:
    house, process, where = answering
    caller = Caller(where, "hold")
    caller.until(Piece)
    before = child(process)
    caller.hang_up()
    # Then the child hears it, says no token more, and answers the next one
    told = until(
        lambda: re.search(r'"finish": "cancelled", "tokens": (\d+).*generate\.stopped', house.logs()), 10
    )
    first = counters(where)
    assert first["tokens"] == int(told[1])
    assert counters(where)["tokens"] == first["tokens"] + 1
    assert child(process) == before


def test_a_child_that_dies_is_told_and_the_next_question_finds_another(answering) -> None:
    _, process, where = answering
    pid = counters(where)["pid"]
    caller = Caller(where, "die", "count 1")
    assert isinstance(caller.until(Piece), Piece)
    assert caller.until(Failed).code == "generation_interrupted"
    assert caller.text() == "1"  # the second question of the same order already
    caller = Caller(where, "hold")
    caller.until(Piece)
    victim = child(process)
    assert victim is not None
    kill(victim)
    assert caller.until(Failed).code == "generation_interrupted"
    assert counters(where)["pid"] not in {pid, victim.pid}
    kill(child(process))  # between two questions
    assert Caller(where, "count 2").text() == "1 2"


def test_it_leaves_memory_when_nobody_asks_and_comes_back(house: House) -> None:
    process, where = started(house, GENERATE_IDLE_SECONDS="0.3")
    first = counters(where)["pid"]
    assert until(lambda: child(process) is None, 10)
    assert counters(where)["pid"] != first


def test_beyond_its_queue_it_refuses_and_who_hangs_up_makes_room(house: House) -> None:
    _, where = started(house, GENERATE_QUEUE="1")
    held = Caller(where, "hold")
    held.until(Piece)
    waiting = Caller(where, "count 1")
    refused = Caller(where, "count 1")
    assert (refused.answer.status, json.loads(refused.answer.read())) == (503, {"code": "generation_busy"})
    waiting.hang_up()
    second = until(lambda: one if (one := Caller(where, "count 2")).answer.status == 200 else None, 10)
    held.hang_up()
    assert second.text() == "1 2"


def test_the_child_knows_no_secret_and_the_logs_tell_none(answering) -> None:
    house, _, where = answering
    seen = json.loads(Caller(where, "environ").text())
    assert not {"DATABASE_URL", "REDIS_URL", "HF_TOKEN", "STORAGE_URL", "GENERATE_LISTEN"} & set(seen)
    for secret in (where.token, house.environ["HF_TOKEN"]):
        assert secret not in json.dumps(seen) + house.logs()
    assert where.address not in house.logs()


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_nothing_of_it_outlives_it(house: House, signal: str) -> None:
    process, where = started(house)
    caller = Caller(where, "hold")
    caller.until(Piece)
    victim = child(process)
    assert victim is not None
    process.terminate() if signal == "TERM" else process.kill()
    process.wait(10)
    assert until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, 5)
    if signal == "TERM":  # who leaves in order says so, to the client and in the table
        assert caller.until(Failed).code == "generation_interrupted"
        assert reached(house) == []
        assert [one for one in house.work_dir.iterdir() if one.name.startswith("run-")] == []
    _, again = started(house)
    assert Caller(again, "count 1").text() == "1"


def test_off_means_that_nobody_answers(house: House) -> None:
    process = house.start("worker.generate", GENERATE_DEVICE="off")
    assert until(lambda: "generate.off" in house.logs(), 20)
    assert reached(house) == []
    process.terminate()
    assert process.wait(10) == 0


def stored(house: House, name: str, data: bytes) -> TunedFile:
    sha256 = hashlib.sha256(data).hexdigest()
    key = blob_key(house.project(), sha256)
    path = house.root / "to-store"
    path.write_bytes(data)
    Blobs.open(house.settings()).put_file(key, path)
    return TunedFile(name, sha256, len(data), key)


def test_what_a_job_has_made_lies_before_the_child_and_a_model_takes_the_bases_place(answering) -> None:
    house, _, where = answering
    files = (
        stored(house, "adapter_config.json", b"{}"),
        stored(house, "adapter_model.safetensors", b"weights"),
    )
    seen = json.loads(Caller(where, "tuned", tuned=Tuned("adapter", files)).text())
    assert seen["files"] == ["adapter_config.json", "adapter_model.safetensors"]
    assert seen["base"] == str(house.root / "models" / MODEL)
    seen = json.loads(Caller(where, "tuned", tuned=Tuned("model", files)).text())
    assert (seen["kind"], seen["base"].startswith(str(house.work_dir / "tuned"))) == (None, True)


def test_what_is_missing_or_not_allowed_is_the_answer_and_the_next_one_comes(answering) -> None:
    house, _, where = answering
    gone = TunedFile("adapter_config.json", "0" * 64, 1, blob_key(house.project(), "0" * 64))
    caller = Caller(where, "tuned", tuned=Tuned("adapter", (gone,)))
    assert caller.until(Failed).code == "storage_unavailable"
    order = encode(Order((Question("other/model", "count 1", "none", Choosing()),)))
    caller.line.request("POST", "/orders", order, {"authorization": f"Bearer {where.token}"})
    assert said(caller.line.getresponse().readline()).reply.code == "model_not_available"
    assert Caller(where, "count 1").text() == "1"


def test_a_gpu_answers_only_while_nothing_trains_on_it(house: House, tmp_path: Path) -> None:
    # Given a GPU as the driver's library tells it, an answer on it, and a worker that sees it too
    (tmp_path / "nvml").mkdir()
    (tmp_path / "nvml" / "pynvml.py").write_text(NVML)
    seeing = {"PYTHONPATH": f"{tmp_path / 'nvml'}{os.pathsep}{Path(__file__).parents[2]}"}
    house.start(**seeing)
    process, where = started(house, **seeing)
    caller = Caller(where, "hold")
    caller.until(Piece)
    (gpus,) = until(
        lambda: [one.gpus for one in workers(house) if one.kind == "train" and one.gpus] or None, 20
    )
    assert gpus == (Gpu("GPU-toy", "Toy GPU", 1 << 34, 1 << 20, busy=87, temperature=None),)
    # When a job begins to train
    job = house.submit("steps=1000 sleep=0.05")
    house.wait_for_step(job)
    # Then the answer ends, the GPU is given back, and until the job has ended nobody is answered
    assert caller.until(Failed).code == "generation_busy"
    assert until(lambda: child(process) is None, 5)
    assert Caller(where, "counters").until(Failed).code == "generation_busy"
    assert [one.job_id for one in workers(house) if one.kind == "train"] == [job.id]
    house.cancel(job)
    house.wait(job, "cancelled")
    assert counters(where)["device"] == "cuda:0"
    # and a model that lies there unasked gives the GPU back as well
    job = house.submit("steps=1000 sleep=0.05")
    assert until(lambda: child(process) is None, 20)
    house.cancel(job)
    house.wait(job, "cancelled")


def workers(house: House):
    with unit_of_work(house.engine) as session:
        return WorkerLedger(session).list(house.project())


def test_the_device_is_what_the_setting_says(house: House) -> None:
    gpus = [Gpu("GPU-a", "A", 1, 0), Gpu("GPU-b", "B", 1, 0)]
    assert Place("auto", []).free(house.engine) == "cpu"
    assert Place("cpu", gpus).free(house.engine) == "cpu"
    assert Place("auto", gpus).free(house.engine) == "cuda:0"
    assert Place("auto", gpus).free(house.engine, now="cuda:1") == "cuda:1"
    assert Place("cuda:1", gpus).described() == "cuda:1"


@pytest.fixture
def shelf(house: House) -> tuple[House, Cupboard]:
    return house, Cupboard(house.root / "tuned", Blobs.open(house.settings()), 10)


def never() -> None:
    """Nobody has hung up."""


def test_files_that_changed_on_disk_are_fetched_again(shelf: tuple[House, Cupboard]) -> None:
    house, cupboard = shelf
    tuned = Tuned("adapter", (stored(house, "adapter_config.json", b"sound"),))
    path = cupboard.lay_out(tuned, never).folder / "adapter_config.json"
    path.write_bytes(b"other")
    assert cupboard.lay_out(tuned, never).folder == path.parent
    assert path.read_bytes() == b"sound"
    again = Cupboard(house.root / "tuned", Blobs.open(house.settings()), 10)
    path.write_bytes(b"0ther")
    again.lay_out(tuned, never)
    assert path.read_bytes() == b"sound"


def test_bytes_that_are_not_the_promised_ones_are_not_kept(shelf: tuple[House, Cupboard]) -> None:
    house, cupboard = shelf
    file = stored(house, "adapter_config.json", b"sound")
    wrong = Tuned("adapter", (TunedFile(file.name, "1" * 64, file.bytes, file.blob_key),))
    with pytest.raises(BlobCorrupt):
        cupboard.lay_out(wrong, never)
    assert [path for path in (house.root / "tuned").rglob("*") if path.is_file()] == []
    missing = Tuned("adapter", (TunedFile(file.name, "1" * 64, 5, blob_key("prj_x", "1" * 64)),))
    with pytest.raises(StorageUnavailable):
        cupboard.lay_out(missing, never)


def test_what_was_asked_for_longest_ago_makes_room(shelf: tuple[House, Cupboard]) -> None:
    house, cupboard = shelf
    kept = [
        Tuned("adapter", (stored(house, "adapter_config.json", b"x" * 4 + bytes([n])),)) for n in range(3)
    ]
    folders = []
    for number, one in enumerate(kept):
        folders.append(cupboard.lay_out(one, never).folder)
        os.utime(folders[-1], (number, number))
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert cupboard.lay_out(kept[0], never).folder.is_dir()


def asked_by(key: str) -> Order:
    return Order((Question("a/b", "x", "none", Choosing()),), key)


def test_a_desk_lets_wait_in_order_and_not_more_than_it_may() -> None:
    desk = Desk(2)
    first, second, third = (desk.hand_in(asked_by(key)) for key in "aba")  # nobody is served yet
    with pytest.raises(DeskFull):
        desk.hand_in(asked_by("b"))
    second.gone.set()
    assert desk.next(0) is first
    assert desk.next(0) is third
    assert desk.next(0) is None


def test_one_key_leaves_half_of_the_desk_to_others() -> None:
    desk = Desk(4)
    desk.hand_in(asked_by("loud"))
    desk.next(0)  # is being served
    first, _ = (desk.hand_in(asked_by("loud")) for _ in range(2))
    with pytest.raises(DeskFull):
        desk.hand_in(asked_by("loud"))
    for _ in range(2):
        desk.hand_in(asked_by("quiet"))
    assert desk.next(0) is first
    desk.hand_in(asked_by("loud"))  # what is served makes room


def test_even_a_desk_for_one_lets_one_wait() -> None:
    desk = Desk(1)
    desk.hand_in(asked_by("only"))
    desk.next(0)
    desk.hand_in(asked_by("only"))
    with pytest.raises(DeskFull):
        desk.hand_in(asked_by("only"))
