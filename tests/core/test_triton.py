"""The GPU's kernel: in Triton's interpreter it gives the bits of the torch form, and it compiles for GPUs.

What it does on a GPU itself is tested in tests/gpu.
"""

import json
import os
import platform
import re
import subprocess
import sys

import pytest
import torch

from neftune_core.noise import draw
from tests.core.golden_noise import asked, cases
from tests.core.test_drawing import mixed
from tests.core.test_philox import PUBLISHED

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="Triton is only made for Linux on x86-64",
)


@pytest.fixture(scope="module")
def interpreted():
    """What a process says in which Triton interprets kernels; it must be told before the import."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.core.triton_interpreted"]
    ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_kernel_was_interpreted(interpreted):
    assert interpreted["interpreted"] == "InterpretedFunction"


def test_the_kernels_words_are_those_of_the_published_vectors(interpreted):
    assert [tuple(words) for words in interpreted["published"]] == [words for _, _, words in PUBLISHED]


def test_the_kernel_draws_the_golden_noise(interpreted):
    assert interpreted["golden"] == [case["values"] for case in cases()]


def test_the_kernel_draws_the_torch_forms_bits_in_a_batch_with_everything(interpreted):
    noise, *_ = asked(cases()[0])
    drawn = draw(noise, mixed(), 9, 259, torch.device("cpu"))

    assert interpreted["mixed"] == drawn.view(torch.int32).tolist()


def test_the_kernel_compiles_for_a_gpu_without_fusing_its_arithmetic(tmp_path, monkeypatch):
    from triton import compile as compiled  # noqa: PLC0415 - slow to import
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    from neftune_core.noise import philox_triton  # noqa: PLC0415

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    pointers = {
        "drawn_PD": "*fp32",
        "segment_P": "*i64",
        "position_P": "*i64",
        "key_S": "*i64",
        "bound_S": "*fp32",
    }
    numbers = {"stream": "i64", "places": "i32", "width": "i32"}
    constants = {"PLACES": "constexpr", "COUNTERS": "constexpr"}
    source = ASTSource(
        philox_triton._uniform, {**pointers, **numbers, **constants}, {"PLACES": 4, "COUNTERS": 64}
    )

    made = compiled(source, target=GPUTarget("cuda", 90, 32))

    assert made.asm["cubin"]
    assert not re.search(r"\bfma\.", made.asm["ptx"])
