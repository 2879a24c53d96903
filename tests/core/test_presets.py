"""Presets: the paper's settings under what the sender gave, and what is told of a job before it runs."""

import pytest

from neftune_core.cautions import cautions
from neftune_core.plan import schedule, training_rows
from neftune_core.presets import PRESETS, departures
from neftune_core.spec import JobSpec


def spec(preset, **fields):
    return JobSpec.model_validate({"model": "a/b", "dataset": "ds_1", "preset": preset, **fields})


def departed(asked):
    return list(departures(asked.preset, asked.model_dump(mode="json")))


def test_paper_alpaca_is_what_the_paper_did():
    asked = spec("paper-alpaca")
    training = asked.training
    assert (asked.method, asked.quantization, asked.alpha) == ("full", None, 5.0)
    assert (training.learning_rate, training.scheduler, training.warmup_ratio) == (5e-5, "cosine", 0.03)
    assert (training.batch_size, training.micro_batch_size, training.epochs) == (128, 4, 3.0)
    assert (training.max_length, training.template, training.train_on) == (512, "alpaca", "response")
    assert (training.packing, training.loss_reduction, training.drop_last) == ("off", "micro_batch", True)
    assert (training.max_grad_norm, training.weight_decay, training.seed) == (1.0, 0.0, 42)
    assert (asked.validation.split, asked.noise) == (0.0, JobSpec.model_fields["noise"].default)


def test_paper_qlora_doubles_the_batch_and_halves_the_rate():
    asked, alpaca = spec("paper-qlora"), spec("paper-alpaca")
    assert (asked.method, asked.quantization.bits) == ("qlora", 4)
    assert asked.training.batch_size == 2 * alpaca.training.batch_size
    assert asked.training.learning_rate == alpaca.training.learning_rate / 2
    same = {"batch_size", "learning_rate"}
    assert asked.training.model_dump(exclude=same) == alpaca.training.model_dump(exclude=same)


def test_the_papers_dataset_makes_the_papers_steps():
    asked = spec("paper-alpaca")
    plan = schedule(training_rows(52_002, asked), asked)
    assert plan.total_steps == 52_002 * 3 // 128 == 1218


@pytest.mark.parametrize("preset", PRESETS)
def test_a_field_the_sender_gives_wins(preset):
    asked = spec(
        preset, alpha=10, method="lora", training={"learning_rate": 1e-4}, validation={"dataset": "ds_2"}
    )
    assert (asked.alpha, asked.method, asked.training.learning_rate) == (10.0, "lora", 1e-4)
    assert (asked.validation.dataset, asked.validation.split) == ("ds_2", 0.0)
    assert asked.training.max_length == 512
    assert departed(asked) == ["method", "training.learning_rate"]


@pytest.mark.parametrize("preset", PRESETS)
def test_steps_asked_for_replace_the_presets_epochs(preset):
    asked = spec(preset, training={"max_steps": 10})
    assert (asked.training.epochs, asked.training.max_steps) == (None, 10)
    assert departed(asked) == ["training.max_steps"]
    assert spec(preset, training={"max_steps": None}).training.epochs == 3.0


def test_a_small_batch_makes_small_micro_batches():
    assert spec("paper-alpaca", training={"batch_size": 2}).training.micro_batch_size == 2
    assert spec("paper-alpaca", training={"batch_size": 64}).training.micro_batch_size == 4


@pytest.mark.parametrize("preset", PRESETS)
def test_a_filled_spec_filled_again_is_the_same(preset):
    asked = spec(preset, training={"max_steps": 10}, alpha=15)
    assert JobSpec.model_validate_json(asked.model_dump_json()) == asked
    assert asked.preset == preset


def test_the_callers_own_body_is_left_alone():
    body = {"model": "a/b", "dataset": "ds_1", "preset": "paper-alpaca", "training": {"epochs": 1}}
    JobSpec.model_validate(body)
    assert body["training"] == {"epochs": 1}
    assert "method" not in body


def test_a_preset_as_it_is_departs_from_nothing():
    assert departed(spec("paper-alpaca")) == departed(spec("paper-qlora")) == []
    plain = spec(None)
    assert plain.training.learning_rate == 2e-4
    assert list(cautions(plain)) == []


# What is told before a job runs


def told(**fields):
    return " | ".join(cautions(JobSpec.model_validate({"model": "a/b", "dataset": "ds_1", **fields})))


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"distribution": "gaussian"}, "noise.distribution gaussian is experimental; the paper's is uniform"),
        ({"target": "prompt"}, "noise.target prompt is experimental; the paper's is all tokens"),
        (
            {"schedule": "linear_decay"},
            "noise.schedule linear_decay is experimental; the paper's is constant",
        ),
        ({"scale": "batch_width"}, "micro_batch_size and packing change the noise"),
    ],
)
def test_noise_that_is_not_the_papers_is_told_where_there_is_noise(noise, words):
    assert words in told(noise=noise)
    assert told(noise=noise, alpha=0) == ""


def test_departing_from_a_preset_is_told():
    assert "preset paper-alpaca gives way to the job's own training.epochs" in told(
        preset="paper-alpaca", training={"epochs": 1}
    )
    assert "gives way" not in told(preset="paper-alpaca")


def test_a_loss_that_goes_by_micro_batches_is_told():
    assert "micro_batch_size change the results" in told(preset="paper-qlora")


def test_an_unusual_alpha_and_a_dataset_that_validates_itself_are_told():
    assert "alpha 20 is above 15" in told(alpha=20)
    assert "will not show overfitting" in told(validation={"dataset": "ds_1"})
