"""What memory is estimated from, and how it moves with what is asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from neftune_core.estimates import Memory, Rows, Shape, adapter_parameters, memory
from neftune_core.model import make_trainable
from neftune_core.weights import shape_of, tensors
from tests.core.tiny import make_base, make_spec

SEVEN_BILLION = Shape(
    parameters=6_738_415_616, in_layers=6_476_005_376, sides=32 * (4 * 8192 + 3 * 15_104),
    layers=32, channels=4096, vocabulary=32_000,
)  # fmt: skip
ROWS = Rows(longest=512, mean=200.0, trained_share=0.5)


def on(device: str, shape: Shape = SEVEN_BILLION, rows: Rows = ROWS, **parts: Any) -> Memory:
    told = {one["device"]: Memory(**one) for one in memory(make_spec(**parts), shape, rows)}
    return told[device]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny")


def test_the_shape_is_that_of_the_loaded_model(tiny: Path) -> None:
    shape = shape_of(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    assert shape is not None
    assert shape.parameters == sum(one.numel() for one in model.parameters())
    assert (shape.layers, shape.channels, shape.vocabulary) == (2, 64, 320)
    spec = make_spec(lora={"r": 3})
    adapted = make_trainable(model, spec)
    assert adapter_parameters(spec, shape) == sum(
        one.numel() for one in adapted.parameters() if one.requires_grad
    )


def test_a_model_in_several_files_is_counted_once(tiny: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(tiny / name)
    (tmp_path / "consolidated.safetensors").symlink_to(tiny / "model.safetensors")
    assert shape_of(tmp_path) == shape_of(tiny)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    index = {"weight_map": dict.fromkeys(tensors(tiny), "model-1.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert shape_of(tmp_path) == shape_of(tiny)


def test_seven_billion_parameters_take_what_they_are_known_to_take() -> None:
    gigabytes = {method: on("cuda", method=method).weights / 1e9 for method in ("lora", "qlora")}
    assert gigabytes["lora"] == pytest.approx(13.5, rel=0.01)
    assert gigabytes["qlora"] == pytest.approx(3.9, rel=0.05)
    full = on("cuda", method="full")
    assert full.trained / 1e9 == pytest.approx(16 * 6.74, rel=0.01)
    assert full.weights == 0


def test_activations_follow_tokens_and_recomputing() -> None:
    kept = on("cuda", training={"gradient_checkpointing": False, "micro_batch_size": 1, "packing": "off"})
    per_token = kept.activations / 512
    assert per_token == pytest.approx(4.5e6, rel=0.1)  # and the logits of half of them
    less = on("cuda", training={"gradient_checkpointing": True, "micro_batch_size": 1, "packing": "off"})
    assert less.activations < kept.activations / 5
    twice = on("cuda", training={"gradient_checkpointing": False, "micro_batch_size": 2, "packing": "off"})
    assert twice.activations == 2 * kept.activations
    assert on("cuda").activations == on("cuda", training={"gradient_checkpointing": True}).activations
    assert on("cpu").activations == on("cpu", training={"gradient_checkpointing": False}).activations


def test_a_step_never_holds_more_tokens_than_it_has_and_always_its_longest_row() -> None:
    long = replace(ROWS, longest=500, mean=500.0)
    few = {"batch_size": 2, "gradient_checkpointing": False}
    assert on("cuda", rows=long, training=few).activations == 2 * on(
        "cuda", rows=replace(long, mean=1.0), training={**few, "batch_size": 1}
    ).activations  # fmt: skip


def test_a_job_that_wants_no_gpu_is_estimated_for_a_cpu_alone() -> None:
    told = memory(make_spec(resources={"gpus": 0}), SEVEN_BILLION, ROWS)
    assert [one["device"] for one in told] == ["cpu"]
