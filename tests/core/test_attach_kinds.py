"""Noise reaches every kind of model as it was drawn: measured at the first layer, not believed."""

import copy
import shutil
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from neftune_core import model as models
from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Noise, draw, later_multiplier, noisy_embeddings
from tests.core.arrivals import FirstLayer, alphas_of, batch, make_model, on_pads
from tests.core.tiny import make_base, make_spec

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def lora(model, **parts):
    parts = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **parts}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings|.*tied", category=UserWarning)
        return get_peft_model(model, LoraConfig(**parts)).train()


def resized():
    model = make_model("llama")
    model.resize_token_embeddings(72)
    return model.train()


def checkpointed(reentrant):
    model = make_model("llama")
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": reentrant})
    model = lora(model)
    if reentrant:
        model.enable_input_require_grads()
    return model


def four_bit(folder):
    spec = make_spec(method="qlora")
    base = models.load_base(make_base(folder), models.numerics_for(spec))
    return models.make_trainable(base, spec).train()


KINDS = {
    "plain": lambda _: make_model("llama"),
    "tied": lambda _: make_model("tied"),
    "resized": lambda _: resized(),
    "lora": lambda _: lora(make_model("llama")),
    "lora on the embedding": lambda _: lora(make_model("llama"), target_modules=["q_proj", "embed_tokens"]),
    "modules_to_save": lambda _: lora(make_model("llama"), modules_to_save=["embed_tokens", "lm_head"]),
    "trainable_token_indices": lambda _: lora(make_model("llama"), trainable_token_indices=[7, 9]),
    "trainable tokens, tied": lambda _: lora(make_model("tied"), trainable_token_indices=[7, 9]),
    "nf4": four_bit,
    "checkpointing, reentrant": lambda _: checkpointed(True),
    "checkpointing, not reentrant": lambda _: checkpointed(False),
    "granite": lambda _: lora(make_model("granite")),
    "gemma": lambda _: make_model("gemma"),
    "opt": lambda _: make_model("opt"),
    "falcon_h1": lambda _: make_model("falcon_h1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_drawn_reaches_the_first_layer_and_nothing_else_does(kind, tmp_path):
    model = KINDS[kind](tmp_path)
    embedding = model.get_input_embeddings()
    hooks_before = list(embedding._forward_hooks)
    ids, mask, layout = batch(9, 30, 17)
    first = FirstLayer(model)
    # Paper noise at the first layer, so what is drawn is this much smaller
    noise = Noise(5.0, 1, later_multiplier=later_multiplier(model.config))

    def run():
        return model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss

    with noisy_embeddings(model, noise) as noisy:

        def run_noisy():
            with noisy.during(layout, 3):
                run().backward()

        found = first.noise(run, run_noisy)
        reading = noisy.meter.read()

    due = draw(Noise(5.0, 1), layout, 3, found.shape[-1], CPU)
    assert float((found - due).abs().max()) < 2e-5 * max(1.0, float(first.heard[0].abs().max()))
    assert on_pads(found, layout) == 0.0
    assert (3 * reading.square_S).sqrt().tolist() == pytest.approx(alphas_of(found, layout), rel=1e-4)
    # It learns, and nothing is left behind
    assert any(float(p.grad.abs().sum()) > 0 for p in model.parameters() if p.grad is not None)
    assert list(embedding._forward_hooks) == hooks_before
    assert float(first.noise(run, run).abs().max()) == 0.0


def test_a_model_as_wide_as_its_projection_makes_it_gets_noise_at_its_embedding():
    model = make_model("opt", word_embed_proj_dim=16)
    ids, mask, layout = batch(40, 80)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        with noisy.during(layout, 0):
            model(input_ids=ids, attention_mask=mask, use_cache=False)
        reading = noisy.meter.read()

    assert reading.channels == 16
    assert reading.effective_alpha == pytest.approx(5.0, rel=0.05)


def test_bf16_gets_the_noise_in_fp32_and_is_rounded_once():
    model = make_model("llama").to(torch.bfloat16)
    ids, mask, layout = batch(9, 30)
    first = FirstLayer(model)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy, noisy.during(layout, 0):
        model(input_ids=ids, attention_mask=mask, use_cache=False)

    drawn = draw(Noise(5.0, 1), layout, 0, 32, CPU)
    exact = model.get_input_embeddings()(ids).float() + drawn
    assert torch.equal(first.heard[-1], exact.to(torch.bfloat16).float())
    # What is measured is the noise, without what bf16 rounds off the sum
    measured = (3 * noisy.meter.read().square_S).sqrt().tolist()
    assert measured == pytest.approx(alphas_of(drawn, layout), rel=1e-6)


# Compiled


# torch's own, when it first loads its compiler
compiling = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


class Short(nn.Module):
    """A model that compiles in a moment, and returns what its layer was given."""

    def __init__(self):
        super().__init__()
        self.embed, self.layer = nn.Embedding(64, 32), nn.Linear(32, 32)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, ids):
        embeds = self.embed(ids)
        return embeds, self.layer(embeds)


@compiling
@pytest.mark.parametrize("when", ["before", "and called before", "inside"])
def test_a_compiled_model_gets_what_was_drawn(when):
    torch.compiler.reset()
    model = Short()
    ids, _, layout = batch(9, 30)
    compiled = model if when == "inside" else torch.compile(model, backend="aot_eager")
    if when == "and called before":
        compiled(ids)
    clean = model.get_input_embeddings()(ids).detach()
    for _ in range(2):  # a second attachment meets code compiled in the first
        with noisy_embeddings(compiled, Noise(5.0, 1)) as noisy:
            there = torch.compile(model, backend="aot_eager") if when == "inside" else compiled
            for epoch in (0, 1):
                with noisy.during(layout, epoch):
                    found, logits = there(ids)
                    logits.sum().backward()
                due = draw(Noise(5.0, 1), layout, epoch, 32, CPU)
                assert float((found - clean - due).detach().abs().max()) < 1e-5
            assert noisy.meter.read().places_S.tolist() == [9, 30, 9, 30]
        found, _ = there(ids)
        assert torch.equal(found, clean)


@compiling
def test_a_whole_step_may_be_compiled():
    torch.compiler.reset()
    model = Short()
    ids, _, layout = batch(9, 30)
    clean = model.get_input_embeddings()(ids).detach()
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:

        def step(epoch):
            with noisy.during(layout, epoch):
                return model(ids)[0].detach()

        compiled = torch.compile(step, backend="eager")
        for epoch in (0, 1, 2):
            due = draw(Noise(5.0, 1), layout, epoch, 32, CPU)
            assert float((compiled(epoch) - clean - due).abs().max()) < 1e-6


@compiling
def test_a_language_model_compiled_and_called_before_trains_on_noise():
    torch.compiler.reset()
    model = make_model("llama", num_hidden_layers=1)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    ids, mask, layout = batch(9, 30)

    def gradient(called, epoch):
        model.zero_grad()
        with noisy_embeddings(called, Noise(5.0, 1)) as noisy, noisy.during(layout, epoch):
            called(input_ids=ids, attention_mask=mask, use_cache=False).logits.square().sum().backward()
        return model.get_input_embeddings().weight.grad.clone()

    compiled(input_ids=ids, attention_mask=mask, use_cache=False)
    eager = gradient(model, 0)
    assert torch.allclose(gradient(compiled, 0), eager, rtol=1e-3, atol=1e-3 * float(eager.abs().max()))
    assert not torch.allclose(gradient(compiled, 1), eager, atol=1e-2 * float(eager.abs().max()))


@compiling
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's tracing
def test_layers_compiled_one_by_one_get_what_was_drawn():
    torch.compiler.reset()
    model = make_model("granite", num_hidden_layers=1)
    for layer in model.model.layers:
        layer.compile(backend="eager")
    ids, mask, layout = batch(9, 30)
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    with noisy_embeddings(model, Noise(5.0, 1, later_multiplier=12.0)) as noisy:
        with noisy.during(layout, 0):
            compiled = model(**given).logits
        with torch.compiler.set_stance("force_eager"), noisy.during(layout, 0):
            eager = model(**given).logits

    assert torch.allclose(compiled, eager, atol=1e-4)


@compiling
def test_six_lengths_are_not_six_compilations():
    torch.compiler.reset()
    graphs = []

    def counting(graph, _inputs):
        graphs.append(graph)
        return graph

    model = Short()
    compiled = torch.compile(model, backend=counting, fullgraph=True)

    def lengths(base):
        graphs.clear()
        for length in (8, 12, 20, 33, 47, 64):
            ids, _, layout = batch(length, length - 3)
            with base.during(layout, length):
                compiled(ids)
        return len(graphs)

    with noisy_embeddings(model, Noise(0.0, 1)) as noisy:
        plain = lengths(noisy)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        noised = lengths(noisy)
        assert len(noisy.meter.read().key_S) == 12
        again = lengths(noisy)  # other epochs, nothing new

    assert (noised, again) == (plain, 0)
    assert plain <= 3


@compiling
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler on a CPU")
def test_inductor_compiles_the_noise_whole():
    torch.compiler.reset()
    model = make_model("llama", num_hidden_layers=1)
    ids, _, layout = batch(9, 30)
    clean = model.get_input_embeddings()(ids).detach()
    embed = torch.compile(model.get_input_embeddings())
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy, noisy.during(layout, 4):
        found = embed(ids)
        found.square().sum().backward()

    assert float((found - clean - draw(Noise(5.0, 1), layout, 4, 32, CPU)).detach().abs().max()) < 1e-6
    gradient = torch.zeros_like(clean[0, 0]).expand(64, 32).clone()
    gradient.index_add_(0, ids.flatten(), 2 * found.detach().flatten(0, 1))
    gradient[0] = 0  # the padding index
    assert torch.allclose(model.get_input_embeddings().weight.grad, gradient, rtol=1e-4, atol=1e-5)


def test_a_copy_of_the_model_has_no_noise():
    model = make_model("llama")
    ids, _, layout = batch(9, 30)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        twin = copy.deepcopy(model)
        with pytest.raises(NeftuneMisapplied, match="0 times"), noisy.during(layout, 0):
            found = twin.get_input_embeddings()(ids)
    assert torch.equal(found, model.get_input_embeddings()(ids))
    with noisy_embeddings(twin, Noise(5.0, 1)):
        pass


@compiling
def test_a_wrapped_model_is_the_same_model():
    model = make_model("llama")
    wrapped = torch.compile(lora(model, modules_to_save=["embed_tokens"]))
    for first, second in ((model, wrapped), (wrapped, model), (wrapped, wrapped)):
        with (
            noisy_embeddings(first, Noise(5.0, 1)),
            pytest.raises(NeftuneMisapplied, match="already"),
            noisy_embeddings(second, Noise(5.0, 1)),
        ):
            pass
