"""The laws of training: what alpha, layout, evaluation and bad numbers may and may not change."""

import math
from itertools import combinations

import pytest
import torch
from transformers import AutoModelForCausalLM, GraniteConfig, GraniteForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from neftune_core import train
from neftune_core.batches import Arrangement, arrange, steps
from neftune_core.errors import NonFiniteLoss, NoTrainableTokens, OutOfMemory, SpecError
from neftune_core.losses import LossHead
from neftune_core.model import load_base, load_tokenizer, make_trainable, numerics_for
from neftune_core.packed_attention import use_packed_attention
from neftune_core.prompts import render
from neftune_core.rows import Message, Row
from neftune_core.tokenise import prepare
from tests.core.tiny import (
    CONFIG,
    AfterStep,
    Never,
    Notebook,
    make_base,
    make_rows,
    make_spec,
    make_tokenizer,
)

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

# Four losses of the tiny model at seed 42. A change that should not alter results leaves them alone; a
# change that should says why in the same commit.
GOLDEN = {
    ("lora", 0.0): [6.53257893948328, 6.173131538975623, 5.885726882293161, 5.777924475043711],
    ("lora", 5.0): [6.3532259577796575, 6.142051696777344, 5.872125773303277, 5.817239698737558],
    ("qlora", 0.0): [6.500415580613272, 6.183019345806491, 5.939958361397802, 5.822611163360904],
    ("qlora", 5.0): [6.341971482549395, 6.1592805923954135, 5.93242151969302, 5.857155674635762],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def trained(base, tmp_path):
    """Train on 24 rows and give what was told."""

    def run(spec=None, rows=None, eval_rows=(), stop_after=None, model_dir=base, **parts):
        notebook = Notebook()
        notebook.outcome = train.run(
            spec or make_spec(**parts),
            make_rows(24) if rows is None else rows,
            eval_rows,
            tmp_path,
            model_dir,
            notebook,
            Never() if stop_after is None else AfterStep(notebook, stop_after),
        )
        return notebook

    return run


@pytest.mark.parametrize("packing", ["off", "on"])
@pytest.mark.parametrize(("method", "alpha"), GOLDEN)
def test_first_losses_are_the_golden_ones(method, alpha, packing, trained):
    told = trained(method=method, alpha=alpha, training={"packing": packing})

    assert told.series("train_loss") == pytest.approx(GOLDEN[method, alpha], rel=1e-5)


def test_each_step_tells_everything_in_one_line(trained):
    told = trained(eval_rows=make_rows(30)[24:], training={"eval_every": 2}, noise={"clean_loss_every": 3})

    always = {
        "train_loss",
        "learning_rate",
        "grad_norm",
        "token_accuracy",
        "tokens",
        "tokens_per_s",
        "epoch",
        "noise_effective_alpha",
        "noise_ratio",
    }
    assert {step: set(values) - always for step, values in told.steps.items()} == {
        0: {"eval_loss"},
        1: {"clean_train_loss"},
        2: {"eval_loss"},
        3: {"clean_train_loss"},
        4: {"eval_loss", "clean_train_loss"},
    }
    assert all(always <= set(values) for step, values in told.steps.items() if step)
    assert told.steps[4]["epoch"] == pytest.approx(4 / 3)
    assert told.steps[4]["tokens"] > told.steps[3]["tokens"] > 0
    assert min(told.series("tokens_per_s")) > 0


@pytest.mark.parametrize("part", ["load_base", "make_trainable"])
def test_no_memory_for_the_model_is_named_as_that(part, trained, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(train.model, part, full)
    with pytest.raises(OutOfMemory, match="outside the steps"):
        trained()


def test_the_plan_is_told_before_the_first_number(trained):
    told = trained(eval_rows=make_rows(30)[24:])

    [planned] = told.named("run.planned")
    assert told.events[0][0] == "run.planned"
    assert planned["total_steps"] == 4
    assert planned["steps_per_epoch"] == 3
    assert (planned["train_rows"], planned["eval_rows"], planned["dropped_rows"]) == (24, 6, 0)
    assert planned["template"] == "chat"
    assert planned["warnings"] == []
    assert planned["tokens_per_epoch"] == told.steps[3]["tokens"]


def test_training_lowers_the_loss_of_rows_never_seen(trained):
    told = trained(eval_rows=make_rows(30)[24:], training={"max_steps": 12, "learning_rate": 5e-3})

    final = told.outcome.final
    assert final["eval_loss"] < final["base_eval_loss"] - 0.5
    assert final["eval_loss"] == told.steps[12]["eval_loss"]


# Alpha


@pytest.mark.parametrize("rows", ["right", "packed"])
def test_alpha_zero_is_the_plain_loop_bit_for_bit_with_dropout_on(rows, base, trained):
    """The noise's code takes no part: this loop does not import it, and the run measures between steps."""
    spec = make_spec(
        alpha=0.0,
        lora={"lora_dropout": 0.1},  # whose masks depend on how rows lie
        noise={"clean_loss_every": 1},
        training={"seed": 7, "packing": "on" if rows == "packed" else "off"},
    )

    tokenizer, numerics = load_tokenizer(base), numerics_for(spec)
    examples = prepare(
        ((number, render(row, "chat", tokenizer)) for number, row in enumerate(make_rows(24))), tokenizer, 128
    ).examples
    model = load_base(base, numerics)
    assert rows == "right" or use_packed_attention(model, numerics.device) is None
    torch.manual_seed(7)
    model = make_trainable(model, spec)
    head = LossHead(model, torch.device("cpu"))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5 * (1 + math.cos(math.pi * n / 4)))
    plain = {name: [] for name in ("train_loss", "token_accuracy", "grad_norm", "learning_rate")}
    model.train()
    for step in steps(examples, 8, 4, 7):
        [batch] = arrange(step.examples, Arrangement(8, 0, rows))
        told = head(batch)
        losses = told.loss_M
        (losses.sum() / len(losses)).backward()
        plain["train_loss"].append(float(losses.detach().double().sum() / len(losses)))
        plain["token_accuracy"].append(int(told.correct_M.sum()) / len(losses))
        plain["grad_norm"].append(float(torch.nn.utils.clip_grad_norm_(parameters, 1.0)))
        plain["learning_rate"].append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()

    found = trained(spec)
    for name in ("train_loss", "token_accuracy", "grad_norm"):
        assert found.series(name) == plain[name]
    assert found.series("learning_rate") == pytest.approx(plain["learning_rate"], rel=1e-12)
    assert len({*plain["token_accuracy"], 0.0}) > 1


def test_alpha_changes_the_noisy_losses_and_the_record_proves_it(trained):
    quiet, noisy = trained(alpha=0.0), trained(alpha=5.0)

    assert quiet.series("train_loss") != noisy.series("train_loss")
    assert quiet.series("noise_effective_alpha") == [0.0] * 4
    assert noisy.series("noise_effective_alpha") == pytest.approx([5.0] * 4, rel=0.03)
    assert quiet.named("neftune.verified") == []
    [verified] = noisy.named("neftune.verified")
    assert verified["effective_alpha"] == pytest.approx(5.0, rel=0.02)
    assert verified["noise_on_pads"] == 0.0
    assert noisy.outcome.noise == verified
    assert quiet.outcome.noise == {"alpha": 0.0, "effective_alpha": 0.0}


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("linear_warmup", [0.25, 0.5, 0.75, 1.0]), ("linear_decay", [1.0, 0.75, 0.5, 0.25])],
)
def test_a_scheduled_noise_has_its_share_of_alpha_at_each_step(schedule, shares, trained):
    told = trained(alpha=8.0, noise={"schedule": schedule})

    expected = [8.0 * share for share in shares]
    assert told.series("noise_effective_alpha") == pytest.approx(expected, rel=0.03)
    assert told.named("neftune.verified")


def test_noise_on_a_sphere_has_one_norm_and_is_recorded(trained):
    told = trained(alpha=5.0, noise={"distribution": "sphere"})

    assert told.series("noise_effective_alpha") == pytest.approx([5.0] * 4, rel=1e-5)
    assert told.named("neftune.verified")


def test_noise_scaled_by_the_width_of_the_batch_is_weaker_for_short_examples(trained):
    padded = {"packing": "off", "micro_batch_size": 8}
    by_length = trained(alpha=5.0, training=padded)
    by_width = trained(alpha=5.0, training=padded, noise={"scale": "batch_width"})

    assert max(by_width.series("noise_effective_alpha")) < 0.95 * min(
        by_length.series("noise_effective_alpha")
    )
    assert by_width.named("neftune.verified")


@pytest.mark.parametrize("target", ["prompt", "response"])
def test_noise_on_a_part_of_each_example_is_weaker_over_the_whole(target, trained):
    told = trained(alpha=5.0, noise={"target": target})

    assert 0.5 < max(told.series("noise_effective_alpha")) < 4.8
    assert told.named("neftune.verified")


def test_evaluation_never_sees_noise(trained):
    """Before the first step weights are the same, so clean losses must be."""
    measured = []
    for alpha in (0.0, 100.0):
        told = trained(alpha=alpha, eval_rows=make_rows(30)[24:])
        measured.append((told.steps[0]["eval_loss"], told.steps[1]["clean_train_loss"]))

    assert measured[0] == measured[1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_first_eval_loss_is_the_one_of_the_untouched_base(method, base, trained):
    held_out = make_rows(30)[24:]

    told = trained(method=method, eval_rows=held_out, training={"learning_rate": 1e-2})

    # Given what the base pays by its own reckoning, row by row
    tokenizer, model = load_tokenizer(base), AutoModelForCausalLM.from_pretrained(base).eval()
    paid = tokens = 0.0
    for example in prepare(
        enumerate(render(row, "chat", tokenizer) for row in held_out), tokenizer, 128
    ).examples:
        ids = torch.tensor(example.ids, dtype=torch.int64)
        labels = torch.where(torch.tensor(example.trained), ids, -100)
        with torch.no_grad():
            paid += float(model(input_ids=ids[None], labels=labels[None]).loss) * example.trained_tokens
        tokens += example.trained_tokens
    assert told.steps[0]["eval_loss"] == pytest.approx(paid / tokens, rel=1e-5)
    assert told.outcome.final["base_eval_loss"] == told.steps[0]["eval_loss"]
    assert told.outcome.final["eval_loss"] != pytest.approx(paid / tokens, rel=1e-2)
    # And so are the probe's first numbers
    probe = told.outcome.probe
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([probe["input_ids"]])).logits[0, -1, :8].tolist()
    assert probe["base_logits"] == pytest.approx(logits, abs=1e-5)
    assert probe["tuned_logits"] != pytest.approx(logits, abs=1e-2)


def test_the_first_clean_loss_is_the_plain_loss_of_the_same_batch(trained):
    assert trained(alpha=0.0).steps[1]["clean_train_loss"] == pytest.approx(
        trained(alpha=0.0).steps[1]["train_loss"], rel=1e-6
    )
    assert trained(alpha=5.0).steps[1]["clean_train_loss"] == trained(alpha=0.0).steps[1]["clean_train_loss"]


def test_measuring_between_steps_changes_nothing(trained):
    lora = {"lora_dropout": 0.2}
    often = trained(
        lora=lora, eval_rows=make_rows(30)[24:], noise={"clean_loss_every": 1}, training={"eval_every": 1}
    )
    never = trained(lora=lora, noise={"clean_loss_every": 0})

    assert often.series("train_loss") == never.series("train_loss")
    assert often.outcome.probe == never.outcome.probe


@pytest.mark.parametrize("method", ["lora", "full"])
def test_micro_batches_decide_nothing(method, trained):
    """8x1, 4x2 and 1x8 at alpha 10: the same losses but for the last bits of fp32."""
    whole, pairs, singles = (
        trained(alpha=10.0, method=method, training={"micro_batch_size": size}) for size in (8, 4, 1)
    )

    for name in ("train_loss", "grad_norm", "clean_train_loss"):
        assert pairs.series(name) == pytest.approx(whole.series(name), rel=1e-5)
        assert singles.series(name) == pytest.approx(whole.series(name), rel=1e-5)
    assert pairs.outcome.resolved["micro_batch_size"] == 4


def test_an_open_micro_batch_is_made_for_the_longest_examples(trained):
    short, long = (trained(training={"packing": "off", "max_length": length}) for length in (128, 512))

    assert short.outcome.resolved["micro_batch_size"] == 8  # the whole step
    assert long.outcome.resolved["micro_batch_size"] == 4


def test_the_same_spec_gives_the_same_bits_and_another_seed_does_not(trained):
    assert trained().outcome.probe == trained().outcome.probe
    assert trained().outcome.probe != trained(training={"seed": 1}).outcome.probe


def test_noise_is_fresh_in_each_epoch(trained):
    told = trained(alpha=50.0, rows=make_rows(8), training={"learning_rate": 1e-8, "max_steps": 3})

    # The order of the rows alone moves the last bits; only other noise moves this much.
    assert min(abs(one - other) for one, other in combinations(told.series("train_loss"), 2)) > 0.01
    assert max(told.series("clean_train_loss")) - min(told.series("clean_train_loss")) < 1e-5


# Methods and options


@pytest.mark.parametrize("method", ["qlora", "full"])
def test_other_methods_learn_too(method, trained):
    told = trained(method=method, training={"max_steps": 8, "learning_rate": 5e-3})

    assert told.steps[8]["train_loss"] < told.steps[1]["train_loss"] - 0.3
    assert told.outcome.kind == ("model" if method == "full" else "adapter")


def test_lora_and_qlora_learn_alike(trained):
    """The 4-bit base is nearly the base; gradients through it must be nearly its gradients."""
    lora, qlora = (
        trained(method=method, eval_rows=make_rows(30)[24:], training={"max_steps": 8, "learning_rate": 5e-3})
        for method in ("lora", "qlora")
    )

    fell = [told.outcome.final["base_eval_loss"] - told.outcome.final["eval_loss"] for told in (lora, qlora)]
    assert fell[1] == pytest.approx(fell[0], rel=0.2)


def test_recomputed_activations_change_nothing(trained, monkeypatch):
    passes, forward = [], LlamaMLP.forward

    def counted(layer, hidden):
        passes.append(hidden.requires_grad)
        return forward(layer, hidden)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    plain = trained(alpha=5.0)
    once = sum(passes)
    recomputed = trained(alpha=5.0, training={"gradient_checkpointing": True})

    assert sum(passes) == 3 * once > 0  # each layer twice: not only said to be
    assert recomputed.outcome.resolved["gradient_checkpointing"] is True
    assert recomputed.series("train_loss") == pytest.approx(plain.series("train_loss"), rel=1e-6)


def test_an_adapter_on_the_head_takes_part_in_the_loss(trained):
    told = trained(lora={"target_modules": ["lm_head"]})

    assert min(told.series("grad_norm")) > 0
    assert told.steps[4]["train_loss"] < told.steps[1]["train_loss"]


def test_training_on_all_tokens_learns_the_prompts_too(trained):
    answers, everything = trained(alpha=0.0), trained(alpha=0.0, training={"train_on": "all"})

    assert answers.steps[1]["train_loss"] != everything.steps[1]["train_loss"]


def test_text_rows_train_whole(trained):
    rows = [Row("text", kind="text", text=f"once upon a time {number}") for number in range(16)]

    told = trained(rows=rows)

    [planned] = told.named("run.planned")
    assert planned["template"] == "plain"
    assert len(told.series("train_loss")) == 4
    # One token a byte, and the tokens that begin and end a text
    assert planned["tokens_per_epoch"] == sum(len(row.text) + 2 for row in rows)


def test_in_bf16_the_base_is_halved_and_full_training_keeps_its_weights_whole(trained):
    adapter, whole = (trained(method=method, training={"precision": "bf16"}) for method in ("lora", "full"))

    assert adapter.outcome.probe["dtype"] == "bfloat16"
    assert whole.outcome.probe["dtype"] == "float32"
    assert adapter.outcome.resolved["precision"] == whole.outcome.resolved["precision"] == "bf16"
    assert adapter.named("neftune.verified")
    assert whole.named("neftune.verified")
    # And it computes in halves
    exact = trained(method="full").series("train_loss")
    assert whole.series("train_loss") != pytest.approx(exact, rel=1e-5)
    assert whole.series("train_loss") == pytest.approx(exact, rel=1e-2)


def test_a_run_stops_early_when_nothing_improves_on_the_base(trained):
    told = trained(
        eval_rows=make_rows(30)[24:],
        training={"max_steps": 6, "eval_every": 2, "early_stop": {"patience": 1}, "learning_rate": 1.0},
    )

    [stopped] = told.named("run.stopped_early")
    assert stopped["step"] == max(told.steps) == 2
    assert stopped["eval_loss"] == told.steps[2]["eval_loss"] > told.steps[0]["eval_loss"]
    assert told.outcome.kind == "adapter"


def test_without_held_out_rows_there_is_a_warning_and_no_eval_loss(trained):
    told = trained(alpha=20.0)

    assert told.series("eval_loss") == []
    assert 0 not in told.steps
    [planned] = told.named("run.planned")
    assert len(planned["warnings"]) == 2
    assert "above 15" in planned["warnings"][0]


def test_rows_that_are_cut_are_told_with_their_number(trained):
    rows = [
        Row("messages", messages=(Message("user", "say it"), Message("assistant", "a" * length)))
        for length in (5, 90, 100)
    ]

    told = trained(rows=rows, training={"max_length": 64})

    assert (
        "2 examples were cut at 64 tokens; 2 of them lost their end-of-text token"
        in (told.named("run.planned")[0]["warnings"])
    )


def test_a_model_that_multiplies_its_embedding_sees_the_noise_that_was_asked_for(tmp_path, trained):
    """Granite by 12: of the sum that its first layer sees, the noise is a twelfth of what it is elsewhere."""
    ratios = []
    for multiplier in (1.0, 12.0):
        torch.manual_seed(0)
        config = GraniteConfig(**CONFIG, embedding_multiplier=multiplier)
        folder = tmp_path / f"by {multiplier}"
        GraniteForCausalLM(config).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        told = trained(alpha=5.0, model_dir=folder, training={"max_steps": 1})
        ratios.append(told.steps[1]["noise_ratio"])
        assert told.steps[1]["noise_effective_alpha"] == pytest.approx(5.0, rel=0.03)

    assert ratios[1] == pytest.approx(ratios[0] / 12, rel=1e-4)


# What goes wrong


def test_a_model_with_broken_weights_ends_with_the_rows_named(base, tmp_path, trained):
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - this test alone

    broken = make_base(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    notebook = Notebook()

    with pytest.raises(NonFiniteLoss, match=r"4 steps in a row, the last at step 4 \(rows "):
        train.run(
            make_spec(training={"max_steps": 9}), make_rows(24), (), tmp_path, broken, notebook, Never()
        )

    assert notebook.series("train_loss") == [None] * 4
    assert [told["in_a_row"] for told in notebook.named("run.step_skipped")] == [1, 2, 3]


def test_a_run_that_is_asked_to_stop_ends_between_two_steps(trained):
    told = trained(stop_after=2)

    assert told.outcome.stopped
    assert sorted(told.steps) == [1, 2]


def test_rows_that_leave_nothing_to_learn_fail_before_the_model_is_loaded(trained):
    rows = [Row("messages", messages=(Message("user", "x" * 500), Message("assistant", "y")))] * 4

    with pytest.raises(NoTrainableTokens, match="4 of 4 rows"):
        trained(rows=rows)


def test_examples_longer_than_the_model_are_refused(trained):
    with pytest.raises(SpecError, match="use at most 512"):
        trained(training={"max_length": 1024})
