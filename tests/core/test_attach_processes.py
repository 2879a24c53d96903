"""Noise in a model whose gradients two processes average, attached to the wrapper or to what is inside."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Noise, draw, noisy_embeddings
from tests.core.arrivals import FirstLayer, batch, make_model
from tests.core.processes import in_processes

NOISE = Noise(5.0, 1)
SHARES = ((9, 30), (17, 4))  # lengths of each rank's examples


def share(rank):
    return batch(*SHARES[rank], keys=[10 * rank + 1, 10 * rank + 2])


def gradient_of(model):
    return model.get_input_embeddings().weight.grad.clone()


def train_wrapped(ranks, to):
    """Take one averaged step in each process; tell how far the noise is from what was drawn."""
    torch.set_num_threads(1)
    model = make_model("llama")
    wrapped = DistributedDataParallel(model)
    compiled = torch.compile(wrapped, backend="eager")
    there, other = {
        "wrapper": (wrapped, model),
        "inside": (model, wrapped),
        "compiled": (compiled, wrapped),
    }[to]
    ids, mask, layout = share(ranks.rank)
    first = FirstLayer(model)
    refused = ""
    with noisy_embeddings(there, NOISE) as noisy:
        try:
            with noisy_embeddings(other, NOISE):
                pass
        except NeftuneMisapplied as error:
            refused = str(error)

        def run():
            return wrapped(input_ids=ids, attention_mask=mask, use_cache=False).logits.sum()

        def noised():
            with noisy.during(layout, 2):
                run().backward()

        found = first.noise(run, noised)
    away = float((found - draw(NOISE, layout, 2, 32, torch.device("cpu"))).abs().max())
    return away, refused, gradient_of(model).tolist(), len(model.get_input_embeddings()._forward_hooks)


@pytest.mark.parametrize("to", ["wrapper", "inside", "compiled"])
def test_each_process_gets_the_noise_of_its_own_examples(to):
    told = in_processes(train_wrapped, to)
    assert [ended.detail for ended in told] == ["", ""]

    for away, refused, _, hooks in (ended.result for ended in told):
        assert away < 1e-6
        assert "already carries noise" in refused
        assert hooks == 0
    # Both hold the mean of what each had alone
    alone = []
    for rank in (0, 1):
        model = make_model("llama")
        ids, mask, layout = share(rank)
        with noisy_embeddings(model, NOISE) as noisy, noisy.during(layout, 2):
            model(input_ids=ids, attention_mask=mask, use_cache=False).logits.sum().backward()
        alone.append(gradient_of(model))
    for ended in told:
        assert torch.allclose(torch.tensor(ended.result[2]), sum(alone) / 2, rtol=1e-4, atol=1e-4)
