"""Merging on plain files: what is refused before anything could be published."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from neftune_core import __main__ as cli
from neftune_core import messages
from neftune_core.export import hashes
from neftune_core.model import make_trainable
from neftune_core.spec import JobSpec

BASE = Path(__file__).parents[2] / "standalone" / "models" / "neftune" / "demo-base"
IDS = [5, 17, 300, 42, 9]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves: an adapter that changes much, and a record with a probe."""
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    spec = JobSpec(model="neftune/demo-base", dataset="ds_x", alpha=5, lora={"r": 4})
    tuned = make_trainable(base, spec)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    tuned.save_pretrained(out / "adapter", save_embedding_layers=False)
    record = {
        "spec": spec.model_dump(mode="json"),
        "model": {"files": hashes(BASE)},
        "probe": {"input_ids": IDS},
    }
    (out / "record.json").write_text(json.dumps(record))
    return out


def merge(trained: Path, out: Path, base: Path = BASE, record: Path | None = None) -> int:
    given = [str(record or trained / "record.json"), str(trained / "adapter"), str(out)]
    return cli.main(["export", *given, "--model-dir", str(base)])


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0, -1]


def test_a_base_stored_in_half_precision_gives_a_result_in_it(trained: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(BASE, half)
    AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).save_pretrained(half)
    record = json.loads((trained / "record.json").read_text())
    record["model"]["files"] = hashes(half)
    (tmp_path / "record.json").write_text(json.dumps(record))

    assert merge(trained, tmp_path / "out", half, tmp_path / "record.json") == messages.EXIT_OK

    weights = load_file(tmp_path / "out" / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    proof = json.loads((tmp_path / "out" / "record.json").read_text())["proof"]
    assert proof["merged_difference"] < 1e-4 < proof["stored_difference"] < proof["stored_tolerance"]


def test_another_base_than_the_one_trained_on_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(BASE, other)
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"][0] += 0.25
    save_file(weights, other / "model.safetensors", {"format": "pt"})

    assert merge(trained, tmp_path / "out", other) == messages.EXIT_FAILED
    assert "export_mismatch" in capsys.readouterr().err
    assert not (tmp_path / "out" / "merged").exists()


def test_a_merge_that_computes_something_else_is_not_told(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a library that forgets a layer's update when it merges
    from peft.tuners.lora import Linear  # noqa: PLC0415 - where it is broken

    forgets = {"left": 1}

    def merge_but_one(self, *args, **kwargs):
        if forgets["left"]:
            forgets["left"] -= 1
            return None
        return honest(self, *args, **kwargs)

    honest = Linear.merge
    monkeypatch.setattr(Linear, "merge", merge_but_one)

    assert merge(trained, tmp_path / "out") == messages.EXIT_FAILED
    told = capsys.readouterr().err
    assert "export_mismatch" in told
    assert "merged saved" not in told


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"spec": {"model": 3}}', "\u00ff"])
def test_what_is_no_record_is_refused(trained: Path, tmp_path: Path, record: str) -> None:
    given = tmp_path / "record.json"
    given.write_text(record)
    assert merge(trained, tmp_path / "out", record=given) == messages.EXIT_FAILED
    assert not (tmp_path / "out" / "merged").exists()


def test_the_merged_folder_is_a_plain_model(trained: Path, tmp_path: Path) -> None:
    assert merge(trained, tmp_path / "out") == messages.EXIT_OK
    merged = tmp_path / "out" / "merged"
    assert sorted(path.suffix for path in merged.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}) == []
    assert "AutoModelForCausalLM" in (merged / "README.md").read_text()
    assert not torch.allclose(logits(merged), logits(BASE), atol=0.1)
