"""The runner as a process: what it speaks, what it leaves behind, how it ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import warnings

import pytest

from neftune_core import messages
from neftune_core.__main__ import main
from neftune_core.sampling import held_out
from tests.core.tiny import make_base, make_rows, make_spec

ENVIRONMENT = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = (
        json.dumps({"messages": [{"role": turn.role, "content": turn.content} for turn in row.messages]})
        for row in make_rows(30)
    )
    path.write_text("\n".join(lines))
    return path


def write_spec(folder, **parts):
    path = folder / "spec.json"
    path.write_text(make_spec(**parts).model_dump_json())
    return path


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "neftune_core", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def quiet(_process, _message):
    """Do nothing while it runs."""


def reported(*arguments, during=quiet):
    """Run as a process with a report pipe; give exit status, messages and stderr."""
    reads, writes = os.pipe()
    process = start(*arguments, "--report-fd", writes, pass_fds=[writes])
    os.close(writes)
    told = []
    with os.fdopen(reads, "rb") as pipe:
        for line in pipe:
            assert len(line) <= messages.MAX_LINE_BYTES
            told.append(messages.decode(line))
            during(process, told[-1])
    _, log = process.communicate(timeout=60)
    return process.returncode, told, log.decode()


def reported_here(*arguments):
    """Do the same within this process, which has torch already; the few lines fit into the pipe."""
    reads, writes = os.pipe()
    listening = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            status = main([*map(str, arguments), "--report-fd", str(writes)])
    finally:
        os.close(writes)
        for number, handler in listening.items():
            signal.signal(number, handler)
    with os.fdopen(reads, "rb") as pipe:
        return status, [messages.decode(line) for line in pipe]


# What any program can do with the results. It imports none of our code.
LOADER = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
base, *outs = sys.argv[1:]
for out in outs:
    record = json.load(open(out + "/record.json"))
    probe = record["probe"]
    quantized = probe["quantization"]
    options = {}
    if quantized:
        options = {"device_map": {"": "cpu"}, "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=quantized["type"],
            bnb_4bit_use_double_quant=quantized["double"],
            bnb_4bit_compute_dtype=getattr(torch, quantized["compute_dtype"]))}
    if record["spec"]["method"] == "full":
        model = AutoModelForCausalLM.from_pretrained(out + "/model", dtype=probe["dtype"])
    else:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=probe["dtype"], **options)
        model = PeftModel.from_pretrained(model, out + "/adapter")
    model.eval()
    with torch.no_grad():
        print(json.dumps(model(input_ids=torch.tensor([probe["input_ids"]])).logits[0, -1, :8].tolist()))
assert not [name for name in sys.modules if name.startswith(("neftune", "tests"))]
"""
METHODS = ("lora", "qlora", "full")


@pytest.fixture(scope="module")
def results(base, rows, tmp_path_factory):
    """One short run of each method, the first as the worker runs it: (folder, status, messages)."""
    found = {}
    for method in METHODS:
        folder = tmp_path_factory.mktemp(method)
        training = {"learning_rate": 5e-3, "max_steps": 8, "seed": 7}
        spec = write_spec(folder, method=method, validation={"split": 0.2}, training=training)
        run = reported if method == "lora" else reported_here
        status, told, *_ = run("run", spec, rows, folder / "out", "--model-dir", base)
        found[method] = (folder / "out", status, told)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_told_once_and_artifacts_come_last(method, results):
    _, status, told = results[method]

    assert status == messages.EXIT_OK
    assert [message.step for message in told if isinstance(message, messages.Metric)] == list(range(9))
    kind = "model" if method == "full" else "adapter"
    artifacts = {m.name: m.path for m in told if isinstance(m, messages.Artifact)}
    assert artifacts == {kind: kind, "record": "record.json", "eval_losses.json": "eval_losses.json"}
    events = [message.name for message in told if isinstance(message, messages.Event)]
    assert events[0] == "run.planned"
    assert events[-1] == "run.completed"
    assert "neftune.verified" in events


def test_plain_libraries_load_each_result_to_the_probes_numbers(base, results, tmp_path):
    outs = [results[method][0] for method in METHODS]

    loaded = subprocess.run(
        [sys.executable, "-c", LOADER, str(base), *map(str, outs)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )

    for out, line in zip(outs, loaded.stdout.splitlines(), strict=True):
        probe = json.loads((out / "record.json").read_text())["probe"]
        assert json.loads(line) == pytest.approx(probe["tuned_logits"], abs=1e-5)
        assert probe["base_logits"] != pytest.approx(probe["tuned_logits"], abs=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_left_is_a_pickle_or_names_a_folder_of_this_machine(method, base, results):
    out, _, _ = results[method]

    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".jinja"}
    assert not [path for path in files if str(base) in path.read_text(errors="replace")]
    assert "acme/tiny" in next(out.rglob("README.md")).read_text()
    if method != "full":
        config = json.loads((out / "adapter" / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "acme/tiny"
        assert config["target_modules"] == sorted(config["target_modules"])  # a set in PEFT, in any order


def first_eval_loss(told):
    """Give the base's, which is the first number told."""
    return next(message.values["eval_loss"] for message in told if isinstance(message, messages.Metric))


def test_the_record_says_what_was_asked_done_and_measured(results):
    out, _, told = results["lora"]

    record = json.loads((out / "record.json").read_text())
    assert record["spec"] == json.loads((out.parent / "spec.json").read_text())
    assert record["resolved"]["template"] == "chat"
    assert record["dataset"]["rows"] == 30
    assert (record["dataset"]["train_rows"], record["dataset"]["eval_rows"]) == (24, 6)
    assert record["noise"]["effective_alpha"] == pytest.approx(5.0, rel=0.02)
    clean = {f"{which}_clean_train_loss" for which in ("base", "best", "last")}
    losses = {"train_loss", "clean_train_loss", "eval_loss", "base_eval_loss", "best_eval_loss", *clean}
    assert set(record["final"]) == losses | {"best_step", "clean_train_rows"}
    assert record["final"]["clean_train_rows"] == 16
    assert told[-1].data == {**record["final"], "total_steps": 8}
    assert record["resumed"] == []
    assert record["final"]["base_eval_loss"] == first_eval_loss(told)
    assert record["versions"]["torch"]
    assert record["seed"] == 7


def test_the_record_names_every_byte_that_went_in_and_came_out(base, rows, results):
    out, _, _ = results["lora"]

    def hashes(folder):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    record = json.loads((out / "record.json").read_text())
    assert record["dataset"]["sha256"] == hashlib.sha256(rows.read_bytes()).hexdigest()
    assert record["artifact"] == {"name": "adapter", "files": hashes(out / "adapter")}
    assert record["model"]["id"] == "acme/tiny"
    assert record["model"]["files"] == hashes(base)


def test_rows_named_for_validation_are_measured_and_all_others_train(base, rows, results, tmp_path):
    # Given as a file of their own the rows that the share would have held out by this seed
    chosen = tmp_path / "held-out.jsonl"
    chosen.write_text("\n".join(held_out(rows.read_text().splitlines(), 0.2, seed=7)[1]))
    spec = write_spec(tmp_path, validation={"dataset": "ds_other"}, training={"max_steps": 1})

    given = ["run", spec, rows, tmp_path / "out", "--model-dir", base]
    refused, [failed] = reported_here(*given)
    status, told = reported_here(*given, "--validation-rows", chosen)

    assert (refused, failed.code) == (messages.EXIT_FAILED, "invalid_spec")
    assert status == messages.EXIT_OK
    planned = told[0].data
    assert (planned["train_rows"], planned["eval_rows"]) == (30, 6)
    _, _, told_of_split = results["lora"]
    assert first_eval_loss(told) == first_eval_loss(told_of_split)


def test_at_a_terminal_a_person_is_told(base, rows, tmp_path, capsys):
    spec = write_spec(tmp_path, training={"max_length": 8})

    status = main(["run", str(spec), str(rows), str(tmp_path / "out"), "--model-dir", str(base)])

    assert status == messages.EXIT_FAILED
    assert "failed (no_trainable_tokens): " in capsys.readouterr().err


@pytest.mark.long  # faults/test_signals.py asks a worker to
def test_asked_to_stop_it_stops_between_steps_with_its_own_status(base, rows, tmp_path):
    spec = write_spec(tmp_path, training={"max_steps": 10_000})

    def stop(process, message):
        if isinstance(message, messages.Metric) and message.step == 3:
            process.send_signal(signal.SIGTERM)

    status, told, _ = reported("run", spec, rows, tmp_path / "out", "--model-dir", base, during=stop)

    assert status == messages.EXIT_STOPPED
    assert not [message for message in told if isinstance(message, messages.Artifact | messages.Failed)]


@pytest.mark.long  # test_resume.py goes on in one process
def test_stopped_with_checkpoints_another_process_goes_on_to_the_same_bytes(base, rows, tmp_path):
    options = {"alpha": 10.0, "lora": {"lora_dropout": 0.1}, "training": {"max_steps": 120, "batch_size": 2}}
    spec = write_spec(tmp_path, validation={"split": 0.2}, **options)
    given = ["run", spec, rows]

    def stop(process, message):
        if isinstance(message, messages.Metric) and message.step == 1:
            process.send_signal(signal.SIGTERM)

    status, told, _ = reported(*given, tmp_path / "out", "--model-dir", base, "--checkpoints", during=stop)
    [saved] = [message for message in told if isinstance(message, messages.Checkpoint)]
    resumed, then = reported_here(*given, tmp_path / "out", "--model-dir", base, "--resume")
    _, whole = reported_here(*given, tmp_path / "whole", "--model-dir", base)

    assert (status, resumed) == (messages.EXIT_STOPPED, messages.EXIT_OK)
    assert saved.path == f"checkpoints/step-{saved.step:08d}"
    steps = [message.step for message in [*told, *then] if isinstance(message, messages.Metric)]
    assert steps == list(range(121))
    adapters = [
        (tmp_path / out / "adapter/adapter_model.safetensors").read_bytes() for out in ("out", "whole")
    ]
    assert adapters[0] == adapters[1]
    assert json.loads((tmp_path / "out" / "record.json").read_text())["resumed"] == [saved.step]
    # Unasked nothing is kept, and nothing is said of checkpoints
    assert not (tmp_path / "whole" / "checkpoints").exists()
    assert not [message for message in whole if isinstance(message, messages.Checkpoint)]
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {
        "adapter",
        "record.json",
        "eval_losses.json",
    }


@pytest.mark.long  # faults/test_runners.py ends supervisors
def test_it_ends_when_nobody_listens_any_more(base, rows, tmp_path):
    spec = write_spec(tmp_path, training={"max_steps": 10_000})
    reads, writes = os.pipe()
    process = start(
        "run", spec, rows, tmp_path / "out", "--model-dir", base, "--report-fd", writes, pass_fds=[writes]
    )
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        pipe.readline()

    process.communicate(timeout=60)

    assert process.returncode == messages.EXIT_FAILED


@pytest.mark.parametrize(
    ("parts", "code", "told"),
    [
        ({"lora": {"target_modules": ["nope"]}}, "invalid_spec", "it has"),
        ({"training": {"max_length": 4096}}, "invalid_spec", "use at most 512"),
        ({"training": {"max_length": 8}}, "no_trainable_tokens", "30 of 30 rows"),
    ],
)
def test_what_the_user_can_mend_is_told_with_its_code(parts, code, told, base, rows, tmp_path):  # noqa: PLR0917 - fixtures
    spec = write_spec(tmp_path, validation={"split": 0.0}, **parts)

    status, lines = reported_here("run", spec, rows, tmp_path / "out", "--model-dir", base)

    assert status == messages.EXIT_FAILED
    last = lines[-1]
    assert isinstance(last, messages.Failed)
    assert (last.code, last.retryable) == (code, False)
    assert told in last.detail


def test_a_spec_that_is_none_is_told_by_its_faults(base, rows, tmp_path):
    spec = tmp_path / "spec.json"
    spec.write_text('{"model": "acme/tiny", "dataset": "x", "alpah": 5}')

    status, [failed], _ = reported("run", spec, rows, tmp_path / "out", "--model-dir", base)

    assert status == messages.EXIT_FAILED
    assert failed.code == "invalid_spec"
    assert "did you mean alpha" in failed.detail


def test_an_unforeseen_error_is_internal_and_its_text_stays_in_the_log(base, rows, tmp_path):
    spec = write_spec(tmp_path)
    (tmp_path / "secret").write_text("a file where a folder is wanted")

    status, [failed], log = reported("run", spec, rows, tmp_path / "secret", "--model-dir", base)

    assert status == messages.EXIT_FAILED
    assert failed.code == "internal"
    assert "secret" not in failed.detail
    assert "secret" in log


def test_a_model_is_found_by_its_id_under_models_dirs(base, rows, tmp_path):
    spec = write_spec(tmp_path)

    status, [failed], _ = reported("run", spec, rows, tmp_path / "out")

    assert status == messages.EXIT_FAILED
    assert failed.code == "model_not_available"


def test_a_file_that_is_missing_is_named_at_once(rows, tmp_path, capsys):
    spec = write_spec(tmp_path)

    for given in (["nope.json", rows], [spec, "nope.jsonl"], [spec, rows, "--validation-rows", "nope"]):
        with pytest.raises(SystemExit) as ended:
            main(["run", *map(str, given), str(tmp_path / "out")])
        assert ended.value.code == 2
        assert "there is no file nope" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_is_fast_and_loads_nothing_heavy():
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "neftune_core", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "--validation-rows" in told.stdout
    assert not [name for name in ("torch", "pydantic", "numpy") if f" {name}\n" in told.stderr]


def test_base_and_adapter_answer_side_by_side(base, results, capsys):
    out, _, _ = results["lora"]

    status = main([
        "generate", "--model-dir", str(base), "--adapter", str(out / "adapter"),
        "--prompt", "count to 3", "--prompt", "count to 9", "--max-new-tokens", "8",
    ])  # fmt: skip

    assert status == 0
    told = json.loads(capsys.readouterr().out)
    assert told["template"] == "chat"
    assert [answer["messages"][0]["content"] for answer in told["answers"]] == ["count to 3", "count to 9"]
    assert all(answer["base"] != answer["tuned"] for answer in told["answers"])


@pytest.mark.parametrize(
    "given", ["{", "[]", '[{"role": "user"}]', '[{"role": "king", "content": "x"}]', "5"]
)
def test_messages_that_are_none_are_told(given, base, capsys):
    assert main(["generate", "--model-dir", str(base), "--messages", given]) == 1
    assert "invalid_spec: --messages" in capsys.readouterr().err
