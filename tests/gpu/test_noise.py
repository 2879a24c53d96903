"""The noise on a GPU: the bits of the golden file, from Triton's kernel and from the torch form."""

import pytest
import torch

from neftune_core.noise import Noise, draw, ops
from tests.core.golden_noise import asked, bits, cases
from tests.core.test_drawing import mixed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=["triton", "torch"])
def form(request, monkeypatch):
    """Draw with the kernel, then with tensor operations, as where Triton is not installed."""
    if request.param == "torch":
        monkeypatch.setattr(ops, "_HAS_TRITON", False)
    else:
        assert ops._HAS_TRITON, "the CUDA build of torch brings Triton along"


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"width {case['width']}")
def test_the_noise_is_the_golden_one(form, case):
    assert bits(draw(*asked(case), CUDA), case) == case["values"]


@pytest.mark.parametrize("scale", ["paper", "batch_width"])
def test_a_batch_with_everything_has_the_cpus_bits(form, scale):
    noise = Noise(5.0, 3, scale=scale)

    on_gpu = draw(noise, mixed(), 9, 259, CUDA).cpu()

    assert torch.equal(on_gpu.view(torch.int32), draw(noise, mixed(), 9, 259, CPU).view(torch.int32))


@pytest.mark.parametrize("distribution", ["gaussian", "sphere"])
def test_other_distributions_are_the_cpus_to_the_last_bits(distribution):
    noise = Noise(5.0, 3, distribution=distribution)

    on_gpu = draw(noise, mixed(), 9, 259, CUDA).cpu()

    torch.testing.assert_close(on_gpu, draw(noise, mixed(), 9, 259, CPU), rtol=1e-6, atol=0)
