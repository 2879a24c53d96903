"""ExactNEFTune in other people's scripts: noise in training passes, none elsewhere, and no trace left."""

import copy
import json
import math
import runpy
import threading
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from transformers import Trainer, TrainerCallback

from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.trl import ExactNEFTune
from tests.core.sft import ROWS, Does, Witness, flattening, losses, rows_of, sft, tiny_model
from tests.core.tiny import make_base

# TRL, datasets and transformers warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")


def hooks(model):
    """Count the hooks on a model; transformers and PEFT keep a few of their own."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def effective(witness, row):
    return [math.sqrt(3 * float(noise.square().sum())) for noise in witness.of(row, which=1)]


# On in training passes, off elsewhere


def test_alpha_zero_hooks_nothing_and_is_plain_training_to_the_bit():
    def told(*callbacks):
        trainer = sft(ROWS, *callbacks, model=tiny_model(attention_dropout=0.2))
        trainer.train()
        return losses(trainer), trainer.model.state_dict()

    counted = []
    plain_losses, plain = told()
    zero_losses, zero = told(
        ExactNEFTune(alpha=0), Does("on_step_end", lambda model, _: counted.append(hooks(model)))
    )

    assert zero_losses == plain_losses
    assert all(torch.equal(zero[name], plain[name]) for name in plain)
    assert set(counted) == {0}


def test_dropout_is_the_same_with_and_without_noise():
    drawn = []

    def told(alpha):
        state = []
        look = Does("on_step_end", lambda *_: state.append(torch.get_rng_state()))
        sft(ROWS, ExactNEFTune(alpha=alpha), look, model=tiny_model(attention_dropout=0.2)).train()
        drawn.append(state)

    told(0)
    told(5)

    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_evaluation_generation_and_probes_of_other_callbacks_see_no_noise():
    ids = torch.tensor([ROWS[0]])

    def generate(model, _state):
        model.generate(ids, max_new_tokens=2, do_sample=False)  # in whatever mode the model is

    def probe(model, _state):
        assert model.training
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()
        model.zero_grad()

    trainer = sft(
        ROWS,
        Does("on_substep_end", generate),
        Does("on_step_end", probe),
        ExactNEFTune(alpha=5),
        Does("on_substep_end", generate),
        Does("on_step_end", probe),
        eval_rows=ROWS[:2],
        eval_strategy="steps",
        eval_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
    )
    witness = Witness(trainer.model)

    trainer.train()

    assert sum(witness.noised) == 4  # two steps of two micro-batches
    learning = [learning for _, _, learning, _ in witness.passes]
    assert sum(learning) == 4 + 2 * 2  # and the probes, which are not the trainer's passes
    assert len(witness.passes) > 4 + 2 * 2 + 2 * 2


def test_nothing_is_left_on_the_model_after_training():
    trainer = sft(ROWS, ExactNEFTune(alpha=5))

    trainer.train()

    assert hooks(trainer.model) == 0


class Boom(BaseException):
    """What a trainer's own handlers let pass, as they do a keyboard interrupt."""


@pytest.mark.parametrize("where", ["in the pass", "after the pass", "before the pass"])
@pytest.mark.parametrize(
    "again",
    [
        "the same trainer",
        *(pytest.param(more, marks=pytest.mark.long) for more in ("a new trainer", "a plain trainer")),
    ],
)
def test_after_an_exception_the_next_training_is_as_if_it_had_not_been(where, again):
    # Given a training that ended in its second step, without a word to its callbacks
    model, armed = tiny_model(), [True]

    def boom(*_):
        if armed and trainer.state.global_step == 1 and model.training:
            raise Boom

    broken = {
        "in the pass": lambda: model.model.layers[0].register_forward_hook(boom),
        "after the pass": lambda: model.lm_head.weight.register_hook(boom),
        "before the pass": lambda: trainer.add_callback(Does("on_step_begin", boom)),
    }
    trainer = sft(ROWS, ExactNEFTune(alpha=5), model=model)
    broken[where]()
    with pytest.raises(Boom):
        trainer.train()
    armed.clear()

    # When the model trains again
    following = {
        "the same trainer": lambda: trainer,
        "a new trainer": lambda: sft(ROWS, ExactNEFTune(alpha=5), model=model),
        "a plain trainer": lambda: sft(ROWS, model=model),
    }[again]()
    witness = Witness(model)
    following.train()

    # Then its noise is alpha's, once, or none where none was asked for
    if again == "a plain trainer":
        assert not any(witness.noised)
    else:
        assert effective(witness, ROWS[0]) == [pytest.approx(5.0, rel=0.1)]
    assert not list(_hooks_of_ours(model))


def _hooks_of_ours(model):
    for part in model.modules():
        for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values()):
            if "neftune_core" in getattr(hook, "__module__", ""):
                yield hook


def test_a_broken_training_can_be_taken_off_by_hand():
    def boom(*_):
        raise Boom

    exact, model = ExactNEFTune(alpha=5), tiny_model()
    with pytest.raises(Boom):
        sft(ROWS, exact, Does("on_step_begin", boom), model=model).train()

    exact.detach()

    with noisy_embeddings(model, Noise(5.0, 1)):
        pass


def test_a_copy_of_the_model_made_while_training_is_clean():
    seen = []

    def call_a_copy(model, _state):
        copied = copy.deepcopy(model).train()
        seen.append(Witness(copied))
        copied(**flattening()([{"input_ids": ROWS[0]}])).loss.backward()

    exact = ExactNEFTune(alpha=5)
    sft(ROWS, exact, Does("on_step_begin", call_a_copy), trainer=Trainer, collator=flattening()).train()

    assert [witness.noised for witness in seen] == [[False], [False]]


@pytest.mark.parametrize("part", ["model", "lm_head"])  # before the embedding is called, and after
def test_a_pass_that_raised_leaves_no_noise_on_for_whoever_catches_it(part):
    class Forgiving(Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            model.train()
            with pytest.raises(ArithmeticError), warnings.catch_warnings(action="error"):
                model(**inputs)
            with torch.no_grad():
                model.eval()
                model(**inputs)
            return super().training_step(model, inputs, num_items_in_batch)

    calls = []

    def fails_every_third(*_):
        calls.append(len(calls) % 3)
        if calls[-1] == 0:
            raise ArithmeticError

    trainer = sft(ROWS, ExactNEFTune(alpha=5), trainer=Forgiving, collator=flattening())
    witness = Witness(trainer.model)
    getattr(trainer.model, part).register_forward_pre_hook(fails_every_third)

    trainer.train()

    learning = [noised for noised, seen in zip(witness.noised, witness.passes, strict=True) if seen[2]]
    assert learning[-1]
    assert not any(noised for noised, seen in zip(witness.noised, witness.passes, strict=True) if not seen[2])


def test_a_pass_of_another_thread_is_not_the_trainers():
    seen = []

    def elsewhere(model, _state):
        witness = Witness(model)
        batch = flattening()([{"input_ids": ROWS[0]}])
        thread = threading.Thread(target=lambda: model.train()(**batch))
        thread.start()
        thread.join()
        seen.append(witness.noised)

    exact = ExactNEFTune(alpha=5)
    sft(
        ROWS, exact, Does("on_step_begin", elsewhere), trainer=Trainer, collator=flattening(), max_steps=1
    ).train()

    assert seen == [[False]]


# What decides the noise


def test_epochs_copies_and_seeds_each_have_noise_of_their_own():
    def given(seed=42):
        trainer = sft([*ROWS[:3], ROWS[0]], ExactNEFTune(5, seed), learning_rate=0.0, num_train_epochs=2)
        witness = Witness(trainer.model)
        trainer.train()
        return [noise.flatten().tolist() for noise in witness.of(ROWS[0], which=1)]

    first, second = given(), given(seed=7)

    assert len({tuple(noise) for noise in first + second}) == 8  # two copies, two epochs, two seeds
    assert given() == first


def test_a_resumed_training_goes_on_with_the_noise_it_would_have_had(tmp_path):
    how = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path)}
    straight = sft(ROWS, ExactNEFTune(5), **how)
    straight.train()  # four steps, the third and fourth in the second epoch

    resumed = sft(ROWS, ExactNEFTune(5), **how)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))

    assert losses(resumed)[-1] == losses(straight)[-1]


def test_an_example_key_in_the_batch_names_the_example():
    def keyed(features):
        ids = torch.tensor([feature["input_ids"] for feature in features])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        return batch | {"example_key": torch.tensor([1, 2, 3, 1][: len(features)])}

    rows = [list(range(5, 15)) for _ in range(4)]
    trainer = sft(rows, ExactNEFTune(5), trainer=Trainer, collator=keyed, learning_rate=0.0)
    witness = Witness(trainer.model)

    trainer.train()

    [(_, noise, _, _)] = witness.passes
    assert torch.equal(noise[0], noise[3])
    assert not torch.equal(noise[0], noise[1])


# Methods


@pytest.mark.parametrize("reentrant", [None, False, pytest.param(True, marks=pytest.mark.long)])
def test_adapters_and_recomputed_activations_change_nothing(reentrant):
    from peft import get_peft_model  # noqa: PLC0415 - beside its use

    model = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainer = sft(
        ROWS,
        ExactNEFTune(alpha=5),
        model=model,
        gradient_checkpointing=reentrant is not None,
        gradient_checkpointing_kwargs=None if reentrant is None else {"use_reentrant": reentrant},
        gradient_accumulation_steps=2,
    )
    plain = sft(ROWS, ExactNEFTune(alpha=5), learning_rate=0.0)
    witnesses = [Witness(trainer.model), Witness(plain.model)]

    trainer.train()
    plain.train()

    for row in ROWS:
        recomputed, once = (witness.of(row)[0] for witness in witnesses)
        assert torch.equal(recomputed, once)


def test_a_multiplier_after_the_embedding_is_divided_out():
    from transformers import GraniteConfig, GraniteForCausalLM  # noqa: PLC0415 - one test's model

    config = {**tiny_model().config.to_dict(), "embedding_multiplier": 12.0, "num_hidden_layers": 1}
    config.pop("model_type")
    model = GraniteForCausalLM(GraniteConfig(**config))
    trainer = sft(ROWS, ExactNEFTune(alpha=5), model=model, learning_rate=0.0)
    seen = []
    table = model.get_input_embeddings().weight

    def reached(module, args, kwargs):
        if module.training:
            seen.append((args[0] if args else kwargs["hidden_states"]).detach())

    model.model.layers[0].register_forward_pre_hook(reached, with_kwargs=True)

    trainer.train()

    noise = seen[0][0, : len(ROWS[0])] - 12 * table.detach()[ROWS[0]]
    assert math.sqrt(3) * float(noise.norm()) == pytest.approx(5.0, rel=0.1)


def test_a_compiled_model_gets_the_same_noise():
    plain = sft(ROWS, ExactNEFTune(5), max_steps=1)
    compiled = sft(ROWS, ExactNEFTune(5), max_steps=1, torch_compile=True, torch_compile_backend="eager")

    plain.train()
    compiled.train()

    assert losses(compiled) == pytest.approx(losses(plain), abs=1e-6)


# What it tells


def test_the_trainers_log_and_the_callback_tell_the_measured_alpha():
    def told(every):
        exact = ExactNEFTune(alpha=5)
        trainer = sft(rows_of(*[200] * 8), exact, logging_steps=every)
        trainer.train()
        lines = [line for line in trainer.state.log_history if "loss" in line]
        return exact, [line["noise_effective_alpha"] for line in lines], lines

    exact, (first, second), _ = told(every=1)
    _, [both], [line] = told(every=2)

    assert (first, second) == (pytest.approx(5.0, rel=0.01), pytest.approx(5.0, rel=0.01))
    assert both == pytest.approx((first + second) / 2, rel=1e-9)
    assert 0 < line["noise_ratio"] < 10
    assert exact.verified["effective_alpha"] == pytest.approx(5.0, rel=0.01)
    assert exact.verified["tolerance"] == 0.02


def test_callbacks_behind_it_log_the_measured_alpha_too():
    """Such as those that send the trainer's lines to a dashboard."""

    class Sends(TrainerCallback):
        lines = []  # noqa: RUF012 - one test's

        def on_log(self, *_args, logs=None, **_):
            self.lines.append(dict(logs))

    trainer = sft(rows_of(*[200] * 4), ExactNEFTune(alpha=5))
    trainer.add_callback(Sends())
    trainer.train()

    line, *_ = Sends.lines
    assert line["noise_effective_alpha"] == pytest.approx(5.0, rel=0.01)


def test_a_short_training_is_verified_as_well_as_its_few_tokens_allow():
    exact = ExactNEFTune(alpha=5)

    sft(ROWS, exact, max_steps=1).train()

    assert exact.verified["effective_alpha"] == pytest.approx(5.0, rel=exact.verified["tolerance"])


def test_measurements_do_not_pile_up_where_nothing_is_logged(monkeypatch):
    monkeypatch.setattr("neftune_core.foreign_run._STEPS_UNREAD", 2)
    monkeypatch.setattr("neftune_core.foreign_run._READINGS_KEPT", 2)
    waiting, kept = [], []
    exact = ExactNEFTune(alpha=5)
    look = Does("on_step_end", lambda *_: waiting.append(len(exact._run._noisy.meter._measured)))
    count = Does("on_step_end", lambda *_: kept.append(len(exact._run._readings)))

    sft(
        rows_of(*[100] * 16), exact, look, count, per_device_train_batch_size=2, logging_strategy="no"
    ).train()

    assert max(waiting) == 1
    assert max(kept) == 2


def test_the_script_in_the_documentation_runs(tmp_path, monkeypatch):
    script = Path(__file__).parents[2] / "docs/examples/exact_neftune.py"
    make_base(tmp_path / "base")
    rows = [{"prompt": f"count to {n}", "completion": " ".join(map(str, range(n)))} for n in range(2, 10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [str(tmp_path / "base"), str(tmp_path / "rows.jsonl"), str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [str(script), *given])
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    made = runpy.run_path(str(script))

    [exact] = [each for each in made["trainer"].callback_handler.callbacks if isinstance(each, ExactNEFTune)]
    assert exact.verified["examples"] == len(rows)
    assert exact.verified["effective_alpha"] == pytest.approx(5.0, rel=0.05)
    code = [line for line in script.read_text().splitlines()[10:] if line.strip()]
    assert len(code) <= 10
