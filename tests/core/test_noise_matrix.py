"""Alpha means alpha: in every layout, method and kind of model, for lengths from 1 to 512.

Measured at the first layer's input, a noisy pass against a clean one, by none of the code under test; each
cell is averaged until chance is below half a per cent.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from neftune_core import model as models
from neftune_core.batches import Arrangement, Step, arrange
from neftune_core.clean_losses import clean_loss
from neftune_core.losses import LossHead
from neftune_core.noise import Layout, Noise, later_multiplier, noisy_embeddings
from neftune_core.packed_attention import use_packed_attention
from neftune_core.stepper import Stepper
from neftune_core.tokenise import Example
from tests.core.arrivals import MODELS, FirstLayer, alphas_of, on_pads
from tests.core.tiny import make_spec, make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

CPU = torch.device("cpu")
ALPHA = 5.0
LENGTHS = (1, 2, 3, 5, 8, 12, 40, 90, 170, 333, 512)
STEPS = 3
WIDTH = 64  # 4-bit blocks want it
KINDS = [name for name in MODELS if name != "tied"] + ["tied"]
METHODS = ["lora", "qlora", "full"]


def examples(epoch):
    """Make one example of each length, each time others."""
    generator = np.random.default_rng(epoch)
    made = []
    for row, length in enumerate(LENGTHS):
        trained = np.arange(length) >= max(1, length // 2)
        ids = generator.integers(5, 64, length).astype(np.int32)
        made.append(Example(row, ids, trained, int(generator.integers(1 << 62)), trained))
    return tuple(made)


@cache
def saved(kind, folder):
    """Write a tiny random model of the kind, one layer deep."""
    name, config = MODELS[kind]
    wide = {"hidden_size": WIDTH, "num_hidden_layers": 1, "intermediate_size": WIDTH, "ffn_dim": WIDTH}
    wide |= {"word_embed_proj_dim": WIDTH, "head_dim": 16, "max_position_embeddings": 8192}
    wide |= {"mamba_d_ssm": WIDTH, "mamba_d_head": 16}
    known = AutoConfig.for_model(name, **{**config, **{key: wide[key] for key in wide if key in config}})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(known).save_pretrained(folder / kind)
    make_tokenizer().save_pretrained(folder / kind)
    return folder / kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def trainee(kind, method, folder, packed=False):
    spec = make_spec(method=method, alpha=ALPHA, lora={"target_modules": ["q_proj", "v_proj"]})
    base = models.load_base(saved(kind, folder), models.numerics_for(spec))
    if packed:
        assert use_packed_attention(base, CPU) is None
    return models.make_trainable(base, spec), spec


def check(found, chance):
    """Hold what every example got against alpha: all together within two per cent, each as chance allows."""
    assert chance < 0.005
    together = math.sqrt(sum(alpha**2 for _, alpha in found) / len(found))
    assert together == pytest.approx(ALPHA, rel=0.02)
    for length, alpha in found:
        assert alpha == pytest.approx(ALPHA, rel=5 * 0.5 * math.sqrt(0.8 / (length * WIDTH)) + 0.002), length


def chance_of(lengths):
    """Give the relative error of the root mean square over examples of these lengths (one sigma)."""
    return 0.5 * math.sqrt(sum(0.8 / (length * WIDTH) for length in lengths)) / len(lengths)


def cells():
    for kind in KINDS:
        for method in METHODS:
            for rows in ("right", "left", "packed"):
                # A state-space model reads on from one example into the next: a run refuses to pack it.
                if not (kind == "falcon_h1" and rows == "packed"):
                    yield kind, method, rows


@pytest.mark.parametrize(("kind", "method", "rows"), list(cells()))
def test_alpha_is_alpha(kind, method, rows, folder):
    model, spec = trainee(kind, method, folder, packed=rows == "packed")
    head, arrangement = LossHead(model, CPU), Arrangement(4, 0, rows=rows)
    first = FirstLayer(model)
    noise = Noise(ALPHA, 1, later_multiplier=later_multiplier(model.config))
    found = []
    with noisy_embeddings(model, noise) as noisy:
        stepper = Stepper(model, head, noisy, spec.training, arrangement=arrangement)
        for number in range(1, STEPS + 1):
            step = Step(number, 0, examples(number))
            batches = arrange(step.examples, arrangement)
            first.heard.clear()
            clean_loss(model, head, batches, CPU)
            stepper.take(step, learning_rate=0.0)
            clean, noised = first.heard[: len(batches)], first.heard[-len(batches) :]
            for batch, without, with_noise in zip(batches, clean, noised, strict=True):
                assert on_pads(with_noise - without, batch.layout) == 0.0
                alphas = alphas_of(with_noise - without, batch.layout)
                found += zip(batch.layout.length_S.tolist(), alphas, strict=True)

    assert sorted(length for length, _ in found) == sorted(LENGTHS * STEPS)
    check(found, chance_of(LENGTHS * STEPS))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_alpha_is_alpha_in_rows_without_padding(kind, method, folder):
    """A foreign collator's flat row: its trailing pads are segments of one token each, and get nothing."""
    model, _ = trainee(kind, method, folder)
    model.train()
    first = FirstLayer(model)
    noise = Noise(ALPHA, 1, later_multiplier=later_multiplier(model.config))
    found, pads = [], 5
    with noisy_embeddings(model, noise) as noisy:
        for number in range(STEPS):
            members = [example for example in examples(number) if len(example.ids) > 1]
            lengths = [len(example.ids) for example in members] + [1] * pads
            ids = torch.tensor([[*(i for example in members for i in example.ids.tolist()), *[0] * pads]])
            bounds = torch.tensor([0, *np.cumsum(lengths)])
            layout = Layout.from_cu_seq_lens(bounds, ids.shape[1], torch.tensor([e.key for e in members]))
            given = {
                "input_ids": ids,
                "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
                "use_cache": False,
            }

            def noised(layout=layout, given=given):
                with noisy.during(layout, 0):
                    model(**given)

            noise_BTD = first.noise(lambda given=given: model(**given), noised)  # noqa: N806 - axes
            assert torch.count_nonzero(noise_BTD[0, -pads:]) == 0
            found += zip(layout.length_S.tolist(), alphas_of(noise_BTD, layout), strict=True)

    check(found, chance_of(LENGTHS[1:] * STEPS))


def test_the_stock_hook_gives_something_else(folder):
    """What this matrix would show elsewhere: the measurement itself can tell."""
    from transformers.integrations.neftune import activate_neftune  # noqa: PLC0415 - beside its own test

    model, _ = trainee("granite", "full", folder)
    activate_neftune(model.train(), ALPHA)
    [batch] = arrange(examples(0), Arrangement(len(LENGTHS), 0))
    first = FirstLayer(model)

    def run():
        model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)

    found = first.noise(run, run)
    for length, alpha in zip(batch.layout.length_S.tolist(), alphas_of(found, batch.layout), strict=True):
        assert alpha / ALPHA == pytest.approx(12 * math.sqrt(length / 512), rel=0.2)
    assert on_pads(found, batch.layout) > 0
