"""A step that does not fit is taken once more in smaller pieces, and comes to the same."""

import re

import pytest
import torch
from transformers import AutoModelForCausalLM

from neftune_core.batches import Arrangement, lay, steps
from neftune_core.errors import OutOfMemory
from neftune_core.losses import LossHead, TokenLosses
from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.packed_attention import use_packed_attention
from neftune_core.spec import TrainingSpec
from neftune_core.stepper import Stepper
from tests.core.test_batches import make_examples
from tests.core.tiny import make_base

CPU = torch.device("cpu")


class SmallDevice(LossHead):
    """A device on which only so many examples fit at once."""

    def __init__(self, model, examples):
        super().__init__(model, CPU)
        self.examples = examples

    def __call__(self, batch):
        losses = super().__call__(batch)
        if len(batch.layout.length_S) > self.examples:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return losses


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def take(base, rows, training=TrainingSpec(), arrangement=Arrangement(8, 0)):  # noqa: B008 - frozen
    model = AutoModelForCausalLM.from_pretrained(base)
    use_packed_attention(model, CPU)
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        stepper = Stepper(
            model,
            SmallDevice(model, rows),
            noisy,
            training,
            arrangement=arrangement,
        )
        taken = stepper.take(step, 1e-3)
        examples = len(noisy.meter.read().square_S)
    return taken, stepper.arrangement.micro_batch_size, examples


@pytest.mark.fault("F38")
@pytest.mark.parametrize("rows", ["right", "packed"])
def test_out_of_memory_halves_an_open_micro_batch_once_and_changes_nothing(rows, base):
    halved, size, examples = take(base, rows=4, arrangement=Arrangement(8, 0, rows))
    whole, _, _ = take(base, rows=8)

    assert size == 4
    assert examples == 8  # what the failed attempt measured is forgotten
    assert halved.loss == pytest.approx(whole.loss, rel=1e-6)
    assert halved.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)


def test_what_was_added_up_before_memory_ran_out_counts_once(base, monkeypatch):
    whole, _, _ = take(base, rows=8, arrangement=Arrangement(4, 0))
    fits, calls = SmallDevice.__call__, []

    def second_fails(head, batch):
        calls.append(len(batch.layout.length_S))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return fits(head, batch)

    monkeypatch.setattr(SmallDevice, "__call__", second_fails)
    halved, _, examples = take(base, rows=8, arrangement=Arrangement(4, 0))

    assert calls == [4, 4, 2, 2, 2, 2]
    assert examples == 8
    assert halved.loss == pytest.approx(whole.loss, rel=1e-6)
    assert halved.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)


def test_a_packed_row_is_halved_by_its_tokens_too(base):
    class Narrow(LossHead):
        def __call__(self, batch):
            if batch.ids_BT.numel() > 200:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().__call__(batch)

    model = AutoModelForCausalLM.from_pretrained(base)
    use_packed_attention(model, CPU)
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    arrangement = Arrangement(8, 0, "packed", row_tokens=400)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        stepper = Stepper(model, Narrow(model, CPU), noisy, TrainingSpec(), arrangement=arrangement)
        taken = stepper.take(step, 1e-3)

    assert stepper.arrangement == Arrangement(4, 0, "packed", row_tokens=200)
    assert taken.loss == pytest.approx(take(base, rows=8)[0].loss, rel=1e-6)


def test_the_papers_loss_is_the_mean_of_its_micro_batches_means(base):
    """And so are the gradients, whatever the micro-batches' sizes: here 3, 3 and 2 examples."""
    training = TrainingSpec(loss_reduction="micro_batch", micro_batch_size=3, max_grad_norm=None)
    model = AutoModelForCausalLM.from_pretrained(base)
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    head, losses = LossHead(model, CPU), []
    for start in (0, 3, 6):
        batch = lay(step.examples[start : start + 3], Arrangement(3, 0))
        losses.append(head(batch).loss_M)
    mean_of_means = torch.stack([loss_M.mean() for loss_M in losses]).mean()
    mean_of_means.backward()
    squares = [parameter.grad.square().sum() for parameter in model.parameters()]
    model.zero_grad()

    with noisy_embeddings(model, Noise(0.0, 1)) as noisy:
        arrangement = Arrangement(3, 0, in_order=True)
        taken = Stepper(model, head, noisy, training, arrangement=arrangement).take(step, 1e-3)

    assert taken.loss == pytest.approx(float(mean_of_means.detach()), rel=1e-6)
    assert taken.grad_norm == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-5)
    assert taken.loss != pytest.approx(float(torch.cat(losses).mean().detach()), rel=1e-4)


def test_what_does_not_fit_then_fails_with_the_way_out(base):
    with pytest.raises(OutOfMemory, match=r"step 1: lower training\.micro_batch_size") as told:
        take(base, rows=2)
    assert re.search(r"At its peak the run held \d+\.\d GiB of the host's memory\.$", str(told.value))


def test_a_micro_batch_that_was_asked_for_is_not_changed(base):
    with pytest.raises(OutOfMemory):
        take(base, rows=4, training=TrainingSpec(micro_batch_size=8))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_no_room_for_the_optimizers_moments_is_out_of_memory_too(error, base, monkeypatch):
    def step(*_):
        raise error

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(OutOfMemory, match="at step 1"):
        take(base, rows=8)


@pytest.mark.fault("F37")
@pytest.mark.parametrize("max_grad_norm", [1.0, None])
def test_a_step_without_a_finite_loss_leaves_the_weights_alone(base, max_grad_norm):
    class Unlucky(LossHead):
        def __call__(self, batch):
            losses = super().__call__(batch)
            return TokenLosses(losses.loss_M * torch.inf, losses.correct_M)

    model = AutoModelForCausalLM.from_pretrained(base)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        training = TrainingSpec(max_grad_norm=max_grad_norm)
        taken = Stepper(model, Unlucky(model, CPU), noisy, training, arrangement=Arrangement(8, 0)).take(
            step, 1e-3
        )

    assert taken.skipped
    assert taken.loss is None
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_weights_decay_as_asked_and_norms_never(base, weight_decay):
    class Still(LossHead):
        """Pays something that no weight can change, so that decay alone moves them."""

        def __call__(self, batch):
            losses = super().__call__(batch)
            return TokenLosses(losses.loss_M * 0, losses.correct_M)

    model = AutoModelForCausalLM.from_pretrained(base)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        training = TrainingSpec(weight_decay=weight_decay)
        Stepper(model, Still(model, CPU), noisy, training, arrangement=Arrangement(8, 0)).take(step, 0.1)

    for name, parameter in model.named_parameters():
        kept = 1.0 if parameter.ndim == 1 else 1 - 0.1 * weight_decay
        assert torch.allclose(parameter, before[name] * kept), name
    assert {parameter.ndim for parameter in model.parameters()} == {1, 2}
