"""A compiler leaves the draw whole: the same bits as without it, and no new code for each length."""

# ruff: noqa: N806 - a tensor's name ends with its axes

import os
import shutil

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from neftune_core.noise import Noise, apply
from tests.core.test_drawing import mixed, padded

# Inductor itself uses what torch deprecates.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]  # long: test_attach_kinds.py compiles what the product runs

# It writes C++; without a compiler the same graph runs operation by operation.
BACKEND = "inductor" if shutil.which(os.environ.get("CXX", "g++")) else "aot_eager"


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Give ``apply`` compiled in one piece, and the counter of its compilations."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()

    def make(backend):
        counter = CompileCounterWithBackend(backend)
        return torch.compile(apply, backend=counter, fullgraph=True), counter

    yield make
    torch._dynamo.reset()


@pytest.mark.parametrize("distribution", ["uniform", "gaussian", "sphere"])
def test_compiled_noise_has_the_bits_of_eager_noise(compiled, distribution):
    call, _ = compiled(BACKEND)
    noise = Noise(5.0, 3, distribution=distribution)
    embeds_BTD = torch.zeros(2, 9, 64)  # the sum is then the noise itself

    _, exact_BTD = call(embeds_BTD, noise, mixed(), 2)

    assert torch.equal(exact_BTD, apply(embeds_BTD, noise, mixed(), 2)[1])
    assert exact_BTD.any()


def test_compiled_sums_in_bf16_are_rounded_once(compiled):
    call, _ = compiled(BACKEND)
    embeds_BTD = torch.randn(2, 9, 64, dtype=torch.bfloat16, requires_grad=True)

    noised_BTD, exact_BTD = call(embeds_BTD, Noise(5.0, 3), mixed(), 2)

    assert torch.equal(noised_BTD, exact_BTD.to(torch.bfloat16))
    assert torch.equal(noised_BTD, apply(embeds_BTD, Noise(5.0, 3), mixed(), 2)[0])


def test_of_six_lengths_epochs_and_strengths_only_the_first_two_are_compiled(compiled):
    call, counter = compiled("aot_eager")
    compilations = []
    for epoch, width in enumerate((5, 9, 12, 17, 30, 41)):
        layout, strength = padded(width, 4), torch.tensor(1 / (1 + epoch), dtype=torch.float64)
        embeds_BTD = torch.randn(2, width, 16)

        noised_BTD, _ = call(embeds_BTD, Noise(5.0, 3), layout, epoch, strength)

        assert torch.equal(noised_BTD, apply(embeds_BTD, Noise(5.0, 3), layout, epoch, strength)[0])
        compilations.append(counter.frame_count)
    assert len(set(compilations[1:])) == 1  # the first length as it is, then any length
