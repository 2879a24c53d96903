"""The ways in which noise goes wrong silently elsewhere: each is refused or works."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from transformers.integrations.neftune import activate_neftune, neftune_post_forward_hook

from neftune_core import train
from neftune_core.errors import CoreError, NeftuneMisapplied
from neftune_core.noise import Noise, draw, noisy_embeddings
from tests.core.arrivals import FirstLayer, batch, make_model
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
IDS, MASK, LAYOUT = batch(9, 30, 17)


@pytest.fixture
def model():
    return make_model("llama")


def step(model, noisy, epoch=0):
    with noisy.during(LAYOUT, epoch):
        model(input_ids=IDS, attention_mask=MASK, use_cache=False).logits.sum().backward()


def drawn(epoch=0):
    return draw(Noise(5.0, 1), LAYOUT, epoch, 32, torch.device("cpu"))


def arrived(first, model):
    """Give the noise of the latest pass at the first layer."""
    return first.heard[-1] - model.get_input_embeddings()(IDS).detach()


# After an exception


def test_an_exception_in_the_second_step_leaves_nothing_to_the_next_run(model):
    def run(boom):
        with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
            step(model, noisy)
            with noisy.during(LAYOUT, 1):
                model(input_ids=IDS, attention_mask=MASK, use_cache=False)
                if boom:
                    raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        run(boom=True)
    assert not model.get_input_embeddings()._forward_hooks
    first = FirstLayer(model)
    run(boom=False)

    assert float((arrived(first, model) - drawn(1)).abs().max()) < 1e-6


def test_a_run_that_fails_in_its_second_step_is_followed_by_one_as_if_alone(tmp_path):
    class Failing(Notebook):
        def metrics(self, step, values):
            super().metrics(step, values)
            if step == 2:
                raise RuntimeError("boom")

    def run(reporter):
        train.run(make_spec(alpha=5.0), make_rows(24), (), tmp_path / "out", base, reporter, Never())
        return reporter.series("train_loss")

    base = make_base(tmp_path / "base")
    alone = run(Notebook())
    with pytest.raises(RuntimeError, match="boom"):
        run(Failing())
    assert run(Notebook()) == alone


# Callbacks


@pytest.mark.parametrize("training", [True, False])
def test_generating_between_steps_sees_no_noise_and_changes_none(model, training):
    prompt = {"input_ids": IDS[1:2, :8], "attention_mask": MASK[1:2, :8]}

    def answer(mode):
        model.train(mode)
        told = model.generate(**prompt, max_new_tokens=12, do_sample=False)
        model.train()
        return told.tolist()

    clean = answer(False)
    first = FirstLayer(model)
    with noisy_embeddings(model, Noise(100.0, 1)) as noisy:
        step(model, noisy)
        assert answer(training) == clean
        assert len(noisy.meter.read().key_S) == 3
        first.heard.clear()
        step(model, noisy, epoch=1)

    assert len(first.heard) == 1
    assert float((arrived(first, model) - 20 * drawn(1)).abs().max()) < 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_a_probe_in_a_callback_sees_no_noise_whatever_the_mode(model, training):
    first = FirstLayer(model)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        step(model, noisy)
        model.train(training)
        with torch.no_grad():
            model(input_ids=IDS, attention_mask=MASK, use_cache=False)

    assert torch.equal(first.heard[-1], model.get_input_embeddings()(IDS))


def test_gradients_of_an_evaluation_are_of_the_model_without_noise(model):
    first = FirstLayer(model.eval())
    with noisy_embeddings(model, Noise(5.0, 1)):
        model(input_ids=IDS, attention_mask=MASK, use_cache=False).logits.sum().backward()

    assert torch.equal(first.heard[-1], model.get_input_embeddings()(IDS))


def test_generating_inside_a_batch_is_refused(model):
    with (
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        pytest.raises(NeftuneMisapplied, match="without gradient"),
        noisy.during(LAYOUT, 0),
    ):
        model.generate(input_ids=IDS[:1], attention_mask=MASK[:1], max_new_tokens=2)


# Modes


def test_an_embedding_left_in_evaluation_mode_is_no_silent_control(model):
    model.train()
    model.get_input_embeddings().eval()

    with (
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        pytest.raises(NeftuneMisapplied, match="evaluation mode"),
    ):
        step(model, noisy)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_embedding_left_in_evaluation_mode_is_no_silent_control(model):
    torch.compiler.reset()
    embed = torch.compile(model.get_input_embeddings(), backend="eager")
    embed.eval()

    with (
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        pytest.raises(NeftuneMisapplied, match="evaluation mode"),
        noisy.during(LAYOUT, 0),
    ):
        embed(IDS)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_training_pass_without_a_layout_is_refused(model):
    torch.compiler.reset()
    embed = torch.compile(model.get_input_embeddings(), backend="eager")

    with noisy_embeddings(model, Noise(5.0, 1)), pytest.raises(NeftuneMisapplied, match="without a layout"):
        embed(IDS)


# Noise from elsewhere


def other_noise(_module, _args, embeds):
    """Somebody's own hook, under a name that tells nothing."""
    return embeds + 1e-3 * torch.rand_like(embeds)


def patched(model):
    """Patch the embedding as the method's first published snippet did."""
    embedding = model.get_input_embeddings()
    plain = embedding.forward

    def noised(ids):
        embeds = plain(ids)
        return embeds + torch.zeros_like(embeds).uniform_(-0.01, 0.01) if embedding.training else embeds

    embedding.forward = noised


SECOND = {
    "the library's": lambda model: activate_neftune(model, 5.0),
    "another's": lambda model: model.get_input_embeddings().register_forward_hook(other_noise),
    "first in line": lambda model: model.get_input_embeddings().register_forward_hook(
        other_noise, prepend=True
    ),
    "a patched forward": patched,
}


@pytest.mark.parametrize("which", SECOND)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_second_source_of_noise_is_found_out(model, which, when):
    if when == "before":
        SECOND[which](model)

    def run():
        with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
            if when == "after":
                step(model, noisy)
                SECOND[which](model)
            step(model, noisy, epoch=1)

    with pytest.raises(NeftuneMisapplied):
        run()


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("which", SECOND)
def test_a_second_source_of_noise_is_found_out_in_compiled_code(model, which):
    torch.compiler.reset()
    SECOND[which](model)
    embed = torch.compile(model.get_input_embeddings(), backend="eager")

    with (
        pytest.raises(NeftuneMisapplied),
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        noisy.during(LAYOUT, 0),
    ):
        embed(IDS)


def test_the_librarys_hook_is_found_long_after_the_first_steps(model):
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        for epoch in range(10):
            step(model, noisy, epoch)
        model.get_input_embeddings().register_forward_hook(neftune_post_forward_hook)
        with pytest.raises(NeftuneMisapplied, match="library"):
            step(model, noisy)


def test_the_librarys_hook_is_found_inside_a_wrapped_embedding(model):
    activate_neftune(model, 5.0)
    wrapped = get_peft_model(model, LoraConfig(target_modules=["embed_tokens"], task_type="CAUSAL_LM"))

    for alpha in (0.0, 5.0):
        with (
            pytest.raises(NeftuneMisapplied, match="neftune_noise_alpha"),
            noisy_embeddings(wrapped, Noise(alpha, 1)),
        ):
            pass


@pytest.mark.parametrize("alpha", [0.0, 5.0])
@pytest.mark.parametrize(
    "holder", [lambda m: m.config, lambda m: m, lambda m: m.get_input_embeddings(), lambda m: m.lm_head]
)
def test_a_smuggled_setting_is_refused_also_in_a_control_run(model, holder, alpha):
    holder(model).neftune_noise_alpha = 5.0

    with (
        pytest.raises(NeftuneMisapplied, match="neftune_noise_alpha"),
        noisy_embeddings(model, Noise(alpha, 1)),
    ):
        pass


@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_a_setting_smuggled_in_later_is_refused_at_the_next_batch(model, alpha):
    with noisy_embeddings(model, Noise(alpha, 1)) as noisy:
        step(model, noisy)
        model.get_input_embeddings().neftune_noise_alpha = 5.0
        with pytest.raises(NeftuneMisapplied, match="neftune_noise_alpha"):
            step(model, noisy)


def test_a_setting_that_is_off_is_no_noise(model):
    model.config.neftune_noise_alpha = None

    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        step(model, noisy)


def test_a_hook_that_changes_nothing_is_no_noise(model):
    """Adapters with recomputed activations need this one."""
    model.enable_input_require_grads()
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        step(model, noisy)


# Alpha


@pytest.mark.parametrize("alpha", [-1.0, -1e-9, math.nan, math.inf, 1e6])
def test_no_noise_has_an_alpha_out_of_range(alpha):
    with pytest.raises(CoreError, match="alpha"):
        Noise(alpha, 1)
    with pytest.raises(ValidationError, match="alpha"):
        make_spec(alpha=alpha)


@pytest.mark.parametrize("where", [{}, {"noise": 1}, {"training": 1}])
def test_no_spec_takes_the_librarys_setting(where):
    smuggled = {"neftune_noise_alpha": 5.0}
    with pytest.raises(ValidationError, match="neftune_noise_alpha"):
        make_spec(**(dict.fromkeys(where, smuggled) or smuggled))


def test_alpha_zero_hooks_nothing_and_draws_nothing(model, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("drawn or measured")

    monkeypatch.setattr("neftune_core.noise.attach.apply", never)
    monkeypatch.setattr("neftune_core.noise.attach.measure_passage", never)
    generator = torch.get_rng_state()
    with noisy_embeddings(model, Noise(0.0, 1)) as noisy:
        assert not model.get_input_embeddings()._forward_hooks
        step(model, noisy)
        assert len(noisy.meter.read().key_S) == 0

    assert torch.equal(torch.get_rng_state(), generator)


class Generators(Notebook):
    """Remembers where the random generator stood when each number was told."""

    def __init__(self):
        super().__init__()
        self.states = []

    def metrics(self, step, values):
        super().metrics(step, values)
        self.states.append(torch.get_rng_state())


def test_alpha_changes_neither_dropout_nor_order_nor_first_weights(tmp_path, monkeypatch):
    base, told, masks = make_base(tmp_path / "base"), {}, {}
    for alpha in (0.0, 5.0):
        seen, plain = [], torch.nn.functional.dropout
        with monkeypatch.context() as watched:
            # The mask as a draw of the same generator at the same place would have it
            def watching(x, p, training, *more, seen=seen, plain=plain):
                if training:
                    state = torch.get_rng_state()
                    seen.append(plain(torch.ones_like(x), p, training))
                    torch.set_rng_state(state)
                return plain(x, p, training, *more)

            watched.setattr(torch.nn.functional, "dropout", watching)
            told[alpha] = Generators()
            spec = make_spec(alpha=alpha, lora={"lora_dropout": 0.2}, noise={"clean_loss_every": 1})
            train.run(spec, make_rows(24), (), tmp_path / f"out{alpha}", base, told[alpha], Never())
        masks[alpha] = seen

    without, with_noise = told[0.0], told[5.0]
    assert all(map(torch.equal, without.states, with_noise.states))
    assert len(masks[0.0]) == len(masks[5.0]) > 0
    assert all(map(torch.equal, masks[0.0], masks[5.0]))
    assert without.series("tokens") == with_noise.series("tokens")
    # Same order, same first weights: before the first step the clean losses are one number
    assert without.steps[1]["clean_train_loss"] == with_noise.steps[1]["clean_train_loss"]
    assert without.series("train_loss") != with_noise.series("train_loss")
