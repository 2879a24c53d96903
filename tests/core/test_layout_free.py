"""Layout decides nothing: the same steps, losses and noise however a step's examples lie in rows."""

import pytest
import torch

from neftune_core import train
from neftune_core.batches import Arrangement, lay, steps
from neftune_core.clean_losses import clean_loss
from neftune_core.errors import SpecError
from neftune_core.losses import LossHead
from neftune_core.model import load_base, make_trainable, numerics_for
from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.packed_attention import use_packed_attention
from neftune_core.stepper import Stepper
from tests.core.test_batches import make_examples
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

CPU = torch.device("cpu")
ALPHA = 10.0
LAYOUTS = {
    "8x1": Arrangement(8, 0),
    "4x2": Arrangement(4, 0),
    "1x8": Arrangement(1, 0),
    "left": Arrangement(8, 0, "left"),
    "packed": Arrangement(8, 0, "packed"),
    "packed rows of 3": Arrangement(3, 0, "packed"),
    "packed rows of 90 tokens": Arrangement(8, 0, "packed", row_tokens=90),
}
WITHIN = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def eight_steps(base, method, arrangement, alpha=ALPHA):
    """Give the losses of 8 steps of 8 examples, dropout off, in fp32."""
    spec = make_spec(method=method, alpha=alpha, lora={"lora_dropout": 0.0})
    model = load_base(base, numerics_for(spec))
    if arrangement.rows == "packed":
        assert use_packed_attention(model, CPU) is None
    torch.manual_seed(0)
    model = make_trainable(model, spec)
    with noisy_embeddings(model, Noise(alpha, 3)) as noisy:
        stepper = Stepper(model, LossHead(model, CPU), noisy, spec.training, arrangement=arrangement)
        return [stepper.take(step, 1e-3).loss for step in steps(make_examples(40), 8, 8, seed=3)]


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_eight_steps_pay_the_same_in_every_layout(method, base):
    told = {name: eight_steps(base, method, arrangement) for name, arrangement in LAYOUTS.items()}

    plain = told.pop("8x1")
    assert len(plain) == 8
    for name, losses in told.items():
        assert max(abs(one - other) for one, other in zip(plain, losses, strict=True)) <= WITHIN, name
    # And the noise is there: without it the same steps pay something else
    assert abs(plain[0] - eight_steps(base, method, LAYOUTS["8x1"], alpha=0.0)[0]) > 100 * WITHIN


def test_an_example_has_the_same_noise_in_every_layout():
    """Its bits, not nearly: padded on either side, alone, and anywhere in a packed row."""
    examples = make_examples(8)
    embedding = torch.nn.Embedding(320, 64)
    embedding.get_input_embeddings = lambda: embedding

    def noise_of(members, arrangement):
        batch = lay(members, arrangement)
        zeros = torch.zeros_like(embedding.weight)
        embedding.weight.data = zeros
        with noisy_embeddings(embedding, Noise(ALPHA, 3)) as noisy, noisy.during(batch.layout, 2):
            noised = embedding.train()(batch.ids_BT).detach()
        flat, segment = noised.flatten(0, 1), batch.layout.segment_BT.flatten()
        assert not flat[segment < 0].any()
        return [flat[segment == number] for number in range(len(members))]

    alone = [noise_of([example], Arrangement(1, 0))[0] for example in examples]
    for order in (examples, examples[::-1]):
        for rows in ("right", "left", "packed"):
            for example, noise in zip(order, noise_of(order, Arrangement(8, 0, rows)), strict=True):
                assert torch.equal(noise, alone[examples.index(example)])
    assert all(noise.abs().max() > 0 for noise in alone)


def test_clean_losses_are_the_same_in_every_layout(base):
    model = load_base(base, numerics_for(make_spec()))
    use_packed_attention(model, CPU)
    head = LossHead(model, CPU)

    told = [
        clean_loss(model, head, [lay(make_examples(8), arrangement)], CPU) for arrangement in LAYOUTS.values()
    ]

    assert max(told) - min(told) <= 1e-6


# What a run makes of the spec


def ran(base, tmp_path, model_dir=None, **parts):
    notebook = Notebook()
    notebook.outcome = train.run(
        make_spec(**parts), make_rows(24), make_rows(30)[24:], tmp_path, model_dir or base, notebook, Never()
    )
    return notebook


def test_auto_packs_what_may_be_packed_and_says_so(base, tmp_path):
    packed, padded, insisted = (
        ran(base, tmp_path, training={"packing": packing}) for packing in ("auto", "off", "on")
    )

    assert [told.outcome.resolved["packing"] for told in (packed, padded, insisted)] == ["on", "off", "on"]
    assert packed.series("train_loss") == insisted.series("train_loss")
    for name in ("train_loss", "eval_loss", "clean_train_loss"):
        assert packed.series(name) == pytest.approx(padded.series(name), rel=0, abs=WITHIN)
    assert packed.series("train_loss") != padded.series("train_loss")  # last bits: they were laid otherwise
    assert packed.outcome.resolved["row_tokens"] == 2048
    assert "row_tokens" not in padded.outcome.resolved
    assert packed.named("run.arranged") == [{"micro_batch_size": 8, "packing": "on", "row_tokens": 2048}]
    assert padded.named("run.arranged") == [
        {"micro_batch_size": 8, "packing": "off", "padded_because": "packing is off"}
    ]


def test_the_papers_mean_per_micro_batch_is_of_padded_rows(base, tmp_path):
    means = {"loss_reduction": "micro_batch", "micro_batch_size": 4, "learning_rate": 1e-8}
    told = ran(base, tmp_path, alpha=0.0, training=means)

    [arranged] = told.named("run.arranged")
    assert (arranged["packing"], arranged["micro_batch_size"]) == ("off", 4)
    assert "the paper pads" in arranged["padded_because"]
    # The means are those of the plan's neighbours, not of examples of like lengths
    model = load_base(base, numerics_for(make_spec()))
    [step] = steps(make_examples(24), 8, 1, seed=42)
    by_four = [lay(step.examples[start : start + 4], Arrangement(4, 0)) for start in (0, 4)]
    mean_of_means = sum(clean_loss(model, LossHead(model, CPU), [batch], CPU) for batch in by_four) / 2
    assert told.steps[1]["train_loss"] == pytest.approx(mean_of_means, rel=1e-6)


def test_a_run_whose_rows_do_not_fit_says_what_became_of_them_and_keeps_its_noise(
    base, tmp_path, monkeypatch
):
    whole = LossHead.__call__

    def small(head, batch):
        if torch.is_grad_enabled() and len(batch.layout.length_S) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(head, batch)

    monkeypatch.setattr(LossHead, "__call__", small)
    told = ran(base, tmp_path, alpha=8.0, noise={"schedule": "linear_warmup"})

    assert told.outcome.resolved["micro_batch_size"] == 4
    assert told.outcome.resolved["row_tokens"] == 1024
    assert told.series("noise_effective_alpha") == pytest.approx([2.0, 4.0, 6.0, 8.0], rel=0.03)


def test_a_model_that_would_leak_is_padded_or_refused(tmp_path):
    from transformers import Lfm2Config, Lfm2ForCausalLM  # noqa: PLC0415 - slow to import

    from tests.core.tiny import CONFIG, make_tokenizer  # noqa: PLC0415 - for this one test

    torch.manual_seed(0)
    folder = tmp_path / "convolutions"
    config = Lfm2Config(**CONFIG, layer_types=["conv", "full_attention"])
    Lfm2ForCausalLM(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    parts = {"model_dir": folder, "method": "full", "training": {"max_steps": 1}}

    told = ran(None, tmp_path, **parts)
    assert told.outcome.resolved["packing"] == "off"
    [arranged] = told.named("run.arranged")
    assert "an example in a row sees another" in str(arranged["padded_because"])
    parts["training"] |= {"packing": "on"}
    with pytest.raises(SpecError, match=r"packing is on, but .* an example in a row sees another"):
        ran(None, tmp_path, **parts)
