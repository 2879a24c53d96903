"""What a model does with its embedding before the first layer: declared, and measured there."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Noise, later_multiplier, noisy_embeddings
from neftune_core.noise.multiplier import Passage, measure_passage
from tests.core.arrivals import GPT, OPT, SMALL, batch, make_model

FACTORS = {
    "llama": 1.0,
    "granite": 12.0,
    "granitemoe": 12.0,
    "granitemoeshared": 12.0,
    "granitemoehybrid": 12.0,
    "hyperclovax": 12.0,
    "falcon_h1": 5.66,
    "hrm_text": 50.0,  # one over its initializer_range
    "ctrl": 32**0.5,  # and positions are added
    "recurrent_gemma": 32**0.5,  # rounded to bf16
    "minicpm3": 1.0,  # it multiplies inside the embedding module, as Gemma does
    "gemma": 1.0,
    "opt": 1.0,  # positions are added
    "gpt2": 1.0,
}
CONFIGS = {
    **{
        name: {"embedding_multiplier": 12.0, "mamba_n_heads": 4}
        for name in ("granitemoe", "granitemoeshared", "granitemoehybrid", "hyperclovax")
    },
    "hrm_text": {"initializer_range": 0.02},
    "ctrl": {**GPT, "dff": 32},
    "gpt2": GPT,
    "minicpm3": {"scale_emb": 12},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FACTORS)
def test_what_a_model_declares_is_what_it_does(name, dtype):
    model = make_model(name, **CONFIGS.get(name, {})).to(dtype)

    declared = later_multiplier(model.config)
    passage = measure_passage(model, model.get_input_embeddings())

    assert declared == pytest.approx(FACTORS[name])
    assert passage.factor == pytest.approx(FACTORS[name], rel=2e-4 if dtype == torch.float32 else 0.01)
    passage.refuse_unless(declared)


@pytest.mark.parametrize(
    ("name", "config"), [("bloom", {"n_layer": 2, "n_head": 4}), ("opt", {**OPT, "word_embed_proj_dim": 16})]
)
def test_a_norm_or_a_projection_is_no_multiplier(name, config):
    model = make_model(name, **config)

    passage = measure_passage(model, model.get_input_embeddings())

    assert later_multiplier(model.config) == 1.0
    assert passage == Passage(None)
    passage.refuse_unless(1.0)
    with pytest.raises(NeftuneMisapplied, match="does not pass it on in proportion"):
        passage.refuse_unless(12.0)


def test_measuring_leaves_no_trace():
    model = make_model("gpt2", **GPT)
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    generator = torch.get_rng_state()

    measure_passage(model, model.get_input_embeddings())

    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_measuring_compiles_nothing():
    torch.compiler.reset()
    graphs = []
    model = make_model("granite", num_hidden_layers=1)
    model.model.compile(backend=lambda graph, _inputs: graphs.append(graph) or graph)

    assert measure_passage(model, model.get_input_embeddings()).factor == pytest.approx(12.0)

    assert graphs == []


def test_what_is_no_decoder_is_not_measured():
    embedding = nn.Embedding(4, 4)

    assert measure_passage(nn.Sequential(embedding, nn.Linear(4, 4)), embedding) is None


class SecretlyTimesThree(LlamaModel):
    """Multiplies by a number that its configuration does not tell."""

    def forward(self, input_ids=None, inputs_embeds=None, **more):
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        return super().forward(inputs_embeds=3.0 * inputs_embeds, **more)


def test_an_undeclared_multiplier_is_found_out_at_the_first_batch():
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    model.model = SecretlyTimesThree(model.config)
    ids, mask, layout = batch(9, 30)

    with (
        noisy_embeddings(model.train(), Noise(5.0, 1)) as noisy,
        pytest.raises(NeftuneMisapplied, match=r"multiply .* by 1 .* multiplies it by 3;"),
        noisy.during(layout, 0),
    ):
        model(input_ids=ids, attention_mask=mask)
    assert not model.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize("declared", [1.0, 11.7, 12.3])
def test_a_multiplier_declared_wrongly_is_found_out_at_the_first_batch(declared):
    model = make_model("granite")
    _, _, layout = batch(9, 30)

    with (
        noisy_embeddings(model, Noise(5.0, 1, later_multiplier=declared)) as noisy,
        pytest.raises(NeftuneMisapplied, match="multiplies it by 12;"),
        noisy.during(layout, 0),
    ):
        pass


def test_configurations_say_their_multiplier_under_the_name_of_their_family():
    class Config:
        model_type, embedding_multiplier, scale_emb, hidden_size, mup_enabled = "granite", 12.0, 10, 64, True

    kinds = {}
    for kind in ("granite", "llama", "minicpm", "afmoe", "inkling"):
        Config.model_type = kind
        kinds[kind] = later_multiplier(Config())
    assert kinds == {"granite": 12.0, "llama": 1.0, "minicpm": 10.0, "afmoe": 8.0, "inkling": 1.0}

    class Wrapping:
        def get_text_config(self):
            Config.model_type = "granite"
            return Config()

    assert later_multiplier(Wrapping()) == 12.0
