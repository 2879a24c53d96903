"""How many real tokens a CPU-second trains: ours packed and padded, TRL's SFTTrainer padded and bfd.

    python benchmarks/train_tokens.py [--rounds 3] [--steps 2] [--batch 16] [--micro 8] [--method lora]

A random Llama of 23 M parameters, Alpaca rows (``NEFTUNE_TEST_DATA``/alpaca_en_demo.json, else made ones of
such lengths), one thread. All four start from the same weights and see the same examples in the same order;
ours and TRL padded take the same steps, so their losses must agree, and are printed side by side. bfd packs
other examples into its steps. Each round every contestant takes one step to warm up and then ``--steps``
that count, in process CPU time, pads not counted. Ends with 1 if a goal is missed or losses differ.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from transformers.utils import logging as library_logging
from trl import SFTConfig, SFTTrainer

from neftune_core.arranging import arrangement_for
from neftune_core.batches import Step, steps
from neftune_core.losses import LossHead
from neftune_core.model import make_trainable
from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.prompts import render
from neftune_core.rows import Message, Row, read_rows
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper
from neftune_core.tokenise import Example, beginning, prepare

GOALS = {"ours padded": 1.3, "trl padded": 2.0, "trl bfd": 1.2}  # of ours packed over each
SAME_LOSS = 1e-5
MAX_LENGTH = 512
VOCABULARY = 16_384
LEARNING_RATE = 1e-3
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": MAX_LENGTH,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timed:
    """What a contestant did in the steps that count."""

    tokens: int
    seconds: float
    losses: tuple[float, ...]  # of all its steps


def alpaca_rows(count: int) -> list[Row]:
    """Give real rows where there are some, else made ones of their lengths."""
    data = os.environ.get("NEFTUNE_TEST_DATA")
    if data and (path := Path(data) / "alpaca_en_demo.json").exists():
        return list(read_rows(path))[:count]
    drawn = random.Random(1)
    words = ["".join(drawn.choices("abcdefghijklmnopqrst", k=drawn.randint(2, 9))) for _ in range(4000)]

    def text(mean: float) -> str:
        return " ".join(drawn.choices(words, k=max(3, int(drawn.lognormvariate(mean, 0.9)))))

    return [
        Row("alpaca", messages=(Message("user", text(2.6)), Message("assistant", text(4.2))))
        for _ in range(count)
    ]


def tokenizer_of(rows: Sequence[Row]) -> PreTrainedTokenizerFast:
    """Train a vocabulary on the rows: about four letters a token, as usual."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((message.content for row in rows for message in row.messages), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def spec_of(args: argparse.Namespace, packing: str) -> JobSpec:
    return JobSpec.model_validate(
        {
            "model": "acme/random",
            "dataset": "ds_bench",
            "alpha": args.alpha,
            "method": args.method,
            "training": {
                "max_steps": args.steps + 1,
                "batch_size": args.batch,
                "micro_batch_size": args.micro,
                "max_length": MAX_LENGTH,
                "packing": packing,
            },
        }
    )


def fresh(spec: JobSpec) -> tuple[Any, Any]:
    """Give a base and what trains of it, with the same weights each time."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval()
    return base, lambda: make_trainable(base, spec)


def ours(args: argparse.Namespace, plan: Sequence[Step], packing: str) -> Timed:
    spec = spec_of(args, packing)
    base, trainable = fresh(spec)
    arrangement = arrangement_for(spec, base, CPU, pad_id=0).arrangement
    model = trainable()
    losses, seconds = [], 0.0
    with noisy_embeddings(model, Noise(args.alpha, 42)) as noisy:
        stepper = Stepper(model, LossHead(model, CPU), noisy, spec.training, arrangement=arrangement)
        for step in plan:
            started = time.process_time()
            losses.append(float(stepper.take(step, LEARNING_RATE).loss or "nan"))
            noisy.meter.read()
            seconds += time.process_time() - started if step.number > 1 else 0.0
    return Timed(sum(step.tokens for step in plan[1:]), seconds, tuple(losses))


class Clock(TrainerCallback):
    """Times the peer's steps, and counts the real tokens of the batches it was given."""

    def __init__(self) -> None:
        self.marks: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.marks.append(time.process_time())

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


class Counted(SFTTrainer):
    """The peer, with its real tokens counted where its batches arrive."""

    tokens: list[int]

    def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        mask = inputs.get("attention_mask")
        self.tokens.append(int(inputs["input_ids"].numel() if mask is None else mask.sum()))
        return super().training_step(model, inputs, *rest, **named)


def trl(args: argparse.Namespace, plan: Sequence[Step], tokenizer: Any, packing: bool) -> Timed:
    _, trainable = fresh(spec_of(args, "off"))
    examples = [example for step in plan for example in step.examples]
    dataset = Dataset.from_list(
        [
            {"input_ids": example.ids.tolist(), "completion_mask": example.trained.astype(int).tolist()}
            for example in examples
        ]
    )
    # A packed row of TRL's holds MAX_LENGTH tokens: as many rows as the padded batch has real tokens for.
    real = sum(len(example.ids) for example in examples) / len(examples)
    micro = max(1, round(args.micro * real / MAX_LENGTH)) if packing else args.micro
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=args.batch // args.micro,
            train_sampling_strategy="sequential",
            max_steps=len(plan),
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            warmup_steps=0,
            max_grad_norm=1.0,
            weight_decay=0.0,
            gradient_checkpointing=False,
            max_length=MAX_LENGTH,
            packing=packing,
            completion_only_loss=True,
            neftune_noise_alpha=None,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        clock = Clock()
        trainer = Counted(
            model=trainable(),
            processing_class=tokenizer,
            train_dataset=dataset,
            args=config,
            callbacks=[clock],
        )
        trainer.tokens = []
        trainer.train()
    first = args.batch // args.micro
    return Timed(sum(trainer.tokens[first:]), clock.marks[-1] - clock.marks[0], tuple(clock.losses))


def plan_of(examples: Sequence[Example], args: argparse.Namespace) -> list[Step]:
    walked: Iterator[Step] = steps(examples, args.batch, args.steps + 1, seed=42)
    return list(walked)


def agree(results: dict[str, Timed]) -> float:
    """Give the largest difference between losses of the same steps."""
    told = [results[name].losses for name in ("ours packed", "ours padded", "trl padded")]
    return max(max(step) - min(step) for step in zip(*told, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rounds", 3), ("steps", 2), ("batch", 16), ("micro", 8), ("rows", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.set_defaults(alpha=0.0)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    library_logging.set_verbosity_error()
    torch.set_num_threads(1)

    rows = alpaca_rows(args.rows)
    tokenizer = tokenizer_of(rows)
    rendered = ((number, render(row, "alpaca", tokenizer)) for number, row in enumerate(rows))
    examples = prepare(rendered, tokenizer, MAX_LENGTH, beginning(tokenizer)).examples
    plan = plan_of(examples, args)
    contestants: dict[str, Callable[[], Timed]] = {
        "ours packed": lambda: ours(args, plan, "on"),
        "ours padded": lambda: ours(args, plan, "off"),
        "trl padded": lambda: trl(args, plan, tokenizer, packing=False),
        "trl bfd": lambda: trl(args, plan, tokenizer, packing=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    apart = 0.0
    for _ in range(args.rounds):
        results = {name: run() for name, run in contestants.items()}
        apart = max(apart, agree(results))
        for name, result in results.items():
            rates[name].append(result.tokens / result.seconds)

    mean = sum(len(example.ids) for example in examples) / len(examples)
    print(f"{mean:.0f} tokens an example; load {os.getloadavg()[0]:.1f}")
    for name, result in results.items():
        print(f"{name:12} losses", " ".join(f"{loss:.6f}" for loss in result.losses))
    medians = {name: statistics.median(told) for name, told in rates.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates["ours packed"], told, strict=True))
        for name, told in rates.items()
    }
    for name, told in rates.items():
        print(
            f"{name:12} {medians[name]:7.0f} tokens a CPU-second ({min(told):.0f} to {max(told):.0f}); "
            f"packed is {ratios[name]:.2f} times that (goal {GOALS.get(name, 1.0):g})"
        )
    missed = [name for name, goal in GOALS.items() if ratios[name] < goal]
    print(
        json.dumps(
            {
                "method": args.method,
                "tokens_per_cpu_s": {name: round(value, 1) for name, value in medians.items()},
                "packed_over": {name: round(ratios[name], 3) for name in GOALS},
                "same_steps_apart": apart,
                "missed": missed,
            }
        )
    )
    return int(bool(missed) or apart > SAME_LOSS)


if __name__ == "__main__":
    sys.exit(main())
