"""What the noise costs in a training step on a CPU: layout, draw and add against the whole step.

    python benchmarks/noise_overhead.py [--rounds 7] [--hidden 384]

A random Llama of 23 M parameters (6 layers, hidden 384, heads of 64, vocabulary 16,384, untied), steps of 8
examples in packed rows, one thread, process CPU time; LoRA and full, examples of 512 tokens and of 64 to 512.
Each round takes one step, timing in its midst what the hook does (draw, add and the meter, in a cache that
belongs to the model), and then each part alone on the same batch, a few times over. "Layout" is all that lays
examples into rows. Not part of the claim, for scale: a clean-loss pass over the same batch, and drawing as
many values with a ``torch.Generator`` seeded anew for each example. Prints one JSON line; ends with 1 where
layout and hook take more than 0.5 % of a step.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from neftune_core.arranging import arrangement_for
from neftune_core.batches import MicroBatch, Step, arrange
from neftune_core.clean_losses import clean_loss
from neftune_core.losses import LossHead
from neftune_core.model import make_trainable
from neftune_core.noise import Noise, NoisyEmbeddings, apply, draw, noisy_embeddings
from neftune_core.noise.meter import NoiseMeter
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper
from neftune_core.tokenise import Example

GOAL = 0.005
CPU = torch.device("cpu")
VOCABULARY = 16_384
LENGTHS = {"512 tokens each": [512] * 8, "64 to 512 tokens": [64, 128, 192, 256, 320, 384, 448, 512]}


def example(number: int, length: int) -> Example:
    """Make an example whose second half is trained."""
    chance = np.random.default_rng(number)
    trained = np.arange(length) >= length // 2
    ids = chance.integers(3, VOCABULARY, length).astype(np.int32)
    return Example(row=number, ids=ids, trained=trained, response=trained, key=int(chance.integers(1 << 62)))


def spec_of(method: str) -> JobSpec:
    training = {"batch_size": 8, "max_length": 512}
    return JobSpec.model_validate({"model": "a/b", "dataset": "ds_b", "method": method, "training": training})


def seconds(part: Callable[[], object], times: int = 1) -> float:
    if times > 1:
        part()  # what the step left to be tidied up is not this part's
    started = time.process_time()
    for _ in range(times):
        part()
    return (time.process_time() - started) / times


def stock_draw(batches: list[MicroBatch], width: int) -> None:
    """Draw as many values with torch's generator: other numbers on a GPU, and nothing for free."""
    generator = torch.Generator()
    for batch in batches:
        layout = batch.layout
        for key, length in zip(layout.key_S.tolist(), layout.length_S.tolist(), strict=True):
            generator.manual_seed(key)
            torch.rand(length, width, generator=generator).mul_(2).sub_(1).mul_(0.1)


def timed_hook(noisy: NoisyEmbeddings) -> list[float]:
    """Note the seconds of each call that noises a batch."""
    spent: list[float] = []
    inner = noisy.noised

    def timed(*args: Any) -> torch.Tensor | None:
        started = time.process_time()
        try:
            return inner(*args)
        finally:
            spent.append(time.process_time() - started)

    noisy.noised = timed
    return spent


def parts_of(
    noise: Noise, step: Step, batches: list[MicroBatch], arranged: Any, width: int
) -> dict[str, Any]:
    """Give each part of the noise as a call that does it for the whole step."""
    embeds = [torch.randn(*batch.ids_BT.shape, width) for batch in batches]
    noised = [apply(e, noise, batch.layout, 0) for e, batch in zip(embeds, batches, strict=True)]

    def metered() -> None:
        meter = NoiseMeter(1.0)
        for before, (_, exact), batch in zip(embeds, noised, batches, strict=True):
            meter.record(before, exact, batch.layout)
        meter.read()

    return {
        "layout": lambda: arrange(step.examples, arranged),
        "draw": lambda: [draw(noise, batch.layout, 0, width, CPU) for batch in batches],
        "draw and add": lambda: [apply(e, noise, b.layout, 0) for e, b in zip(embeds, batches, strict=True)],
        "meter": metered,
        "stock generator": lambda: stock_draw(batches, width),
    }


def measured(method: str, lengths: list[int], hidden: int, rounds: int) -> dict[str, list[float]]:
    """Give the seconds of a step and of each part, round by round; the first, which warms up, left out."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=6,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    base, spec = LlamaForCausalLM(config).eval(), spec_of(method)
    arranged = arrangement_for(spec, base, CPU, pad_id=0).arrangement
    model, noise = make_trainable(base, spec), Noise(5.0, 42)
    head = LossHead(model, CPU)
    step = Step(1, 0, tuple(example(number, length) for number, length in enumerate(lengths)))
    batches = arrange(step.examples, arranged)
    parts = parts_of(noise, step, batches, arranged, hidden)
    told: dict[str, list[float]] = {name: [] for name in ("step", "hook", *parts, "clean loss")}
    with noisy_embeddings(model, noise) as noisy:
        spent = timed_hook(noisy)
        stepper = Stepper(model, head, noisy, spec.training, arrangement=arranged)
        for number in range(rounds + 1):
            took = {"step": seconds(lambda: (stepper.take(step, 1e-4), noisy.meter.read()))}
            took["hook"], spent[:] = sum(spent), []
            took |= {name: seconds(part, times=5) for name, part in parts.items()}
            took["clean loss"] = seconds(lambda: clean_loss(model, head, batches, CPU))
            for name, value in took.items():
                told[name] += [value] * (number > 0)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hidden", type=int, default=384)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, dict[str, float]] = {}
    for method in ("lora", "full"):
        for name, lengths in LENGTHS.items():
            told = measured(method, lengths, args.hidden, args.rounds)
            told["noise"] = [a + b for a, b in zip(told["layout"], told["hook"], strict=True)]
            print(f"\n{method}, {name}: a step takes {statistics.median(told['step']):.3f} CPU-s")
            shares = {}
            for part, values in told.items():
                share = [value / whole for value, whole in zip(values, told["step"], strict=True)]
                shares[part] = statistics.median(share)
                if part != "step":
                    spread = f"({100 * min(share):.3f} to {100 * max(share):.3f})"
                    print(
                        f"  {part:16} {1e3 * statistics.median(values):9.2f} ms "
                        f"{100 * shares[part]:7.3f} % of a step {spread}"
                    )
            result[f"{method}, {name}"] = {part: round(100 * share, 4) for part, share in shares.items()}
    missed = [name for name, shares in result.items() if shares["noise"] > 100 * GOAL]
    print("\n" + json.dumps({"percent_of_a_step": result, "missed": missed}))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
