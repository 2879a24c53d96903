"""The noise in plain integers, from its definition alone, and the golden file made of it.

``python -m tests.core.golden_noise`` writes the file again. A change of it changes every run ever made.
"""

import json
from pathlib import Path

import numpy as np
import torch

from neftune_core.noise import Layout, Noise

FILE = Path(__file__).with_name("golden_noise.json")


def cases():
    """Give the examples of the golden file, with their values as the hexadecimal bits of fp32."""
    return json.loads(FILE.read_text())


def asked(case):
    """Give what has to be drawn for a case: noise, layout, epoch and width; pads stand on both sides."""
    mask = torch.tensor([[0, *[1] * case["length"], 0, 0]])
    return (
        Noise(case["alpha"], case["seed"]),
        Layout.padded(mask, torch.tensor([case["key"]])),
        case["epoch"],
        case["width"],
    )


def bits(drawn_BTD, case):  # noqa: N803 - axes
    """Give the drawn bits at a case's places, as the file writes them."""
    picked = drawn_BTD[0, 1:].cpu()[case["positions"]][:, case["channels"]].contiguous()
    return [[f"{value & 0xFFFFFFFF:08x}" for value in row] for row in picked.view(torch.int32).tolist()]


def unit(seed, epoch, key, position, channel):
    """Give U(-1, 1) of a place: an odd multiple of 2**-24."""
    words = philox((seed, epoch), (channel // 4, position, key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF))
    return (2 * (words[channel % 4] >> 8) + 1 - 2**24) * 2.0**-24


def philox(key, counter):
    """Philox4x32-10 in plain integers, from the paper."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        high0, low0 = divmod(c0 * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(c2 * 0xCD9E8D57, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % (1 << 32), (k1 + 0xBB67AE85) % (1 << 32)
    return c0, c1, c2, c3


def plain(case):
    """Give a case's values from the definition, one by one."""
    bound = np.float32(case["alpha"] / np.sqrt(case["length"] * case["width"]))
    of_example = (case["seed"], case["epoch"], case["key"])
    return [
        [
            (np.float32(unit(*of_example, position, channel)) * bound).tobytes()[::-1].hex()
            for channel in case["channels"]
        ]
        for position in case["positions"]
    ]


_CASES = [
    {"alpha": 5.0, "seed": 42, "epoch": 3, "key": 0x0123456789ABCDEF, "length": 2, "width": 6},
    {"alpha": 10.0, "seed": 2**31 - 1, "epoch": 2**31 - 1, "key": -(2**63), "length": 3, "width": 5},
    {"alpha": 15.0, "seed": 0, "epoch": 0, "key": 0, "length": 512, "width": 8, "positions": [0, 255, 511]},
    {
        "alpha": 0.1,
        "seed": 1,
        "epoch": 1,
        "key": -1,
        "length": 7,
        "width": 2051,
        "channels": [0, 3, 4, 1023, 2048, 2050],
    },
]

if __name__ == "__main__":
    whole = [{"positions": [*range(c["length"])], "channels": [*range(c["width"])], **c} for c in _CASES]
    lines = [json.dumps({**case, "values": plain(case)}) for case in whole]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n")
