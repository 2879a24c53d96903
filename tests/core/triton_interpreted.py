"""What the kernel gives in Triton's interpreter, as JSON. Run with TRITON_INTERPRET=1."""

import json

import torch
import triton
import triton.language as tl

from neftune_core.noise import draw, philox_triton
from tests.core.golden_noise import asked, bits, cases
from tests.core.test_drawing import mixed
from tests.core.test_philox import PUBLISHED


@triton.jit
def _published(words, counter, key):
    position, low, high = tl.load(counter + 1), tl.load(counter + 2), tl.load(counter + 3)
    drawn = philox_triton.philox_words(tl.load(key), tl.load(counter), position, low | (high << 32))
    for place in tl.static_range(4):
        tl.store(words + place, drawn[place].to(tl.int64))


def published():
    """Draw the words of the published vectors."""
    drawn = []
    for (key0, key1), counter, _ in PUBLISHED:
        words = torch.zeros(4, dtype=torch.int64)
        key = torch.tensor([key0 | key1 << 32], dtype=torch.uint64).view(torch.int64)
        _published[(1,)](words, torch.tensor(counter), key)
        drawn.append(words.tolist())
    return drawn


def main():
    """Draw everything, and tell it."""
    golden = [(case, asked(case)) for case in cases()]
    noise = golden[0][1][0]
    told = {
        "interpreted": type(philox_triton._uniform).__name__,
        "published": published(),
        "golden": [bits(draw(*wanted, torch.device("cpu")), case) for case, wanted in golden],
        "mixed": draw(noise, mixed(), 9, 259, torch.device("cpu")).view(torch.int32).tolist(),
    }
    print(json.dumps(told))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
