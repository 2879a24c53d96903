"""What noise an example really gets: TRL's own ``neftune_noise_alpha`` beside ``ExactNEFTune``.

    python benchmarks/noise_table.py [--alpha 5] [--copies 16] [--examples 256]

Both train TRL's SFTTrainer (fp32, learning rate 0) and are measured alike, from outside: what the first layer
was given in training, less what it is given for the same batch without noise. Told is applied / paper: the
root mean square over examples of sqrt(3) * |noise| / alpha, which the paper's noise makes 1 whatever an
example's length; and the share of all noise that lies on pads. The first table has examples of four lengths
in several layouts and models. The second has Alpaca's lengths (of ``NEFTUNE_TEST_DATA``/alpaca_en_demo.json,
else drawn ones of that kind) and tells what alpha comes to. Ends with 1 if ours is off by over 2 % anywhere.
"""

import argparse
import io
import json
import os
import random
import statistics
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as library_logging
from trl import SFTConfig, SFTTrainer

from neftune_core.rows import read_rows
from neftune_core.trl import ExactNEFTune

LENGTHS = (12, 40, 100, 400)
MAX_LENGTH = 512
TOLERANCE = 0.02
FIRST = 400  # the token that begins the first example; it occurs nowhere else, and so on
WIDTH = 64
SHAPE = {
    "vocab_size": 2_400,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA = {**SHAPE, "num_key_value_heads": 4, "intermediate_size": 128}
MODELS: dict[str, Callable[[], Any]] = {
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "Granite, 12 x": lambda: GraniteForCausalLM(GraniteConfig(**LLAMA, embedding_multiplier=12.0)),
    "Gemma": lambda: GemmaForCausalLM(GemmaConfig(**LLAMA, head_dim=16)),
    "OPT": lambda: OPTForCausalLM(OPTConfig(**SHAPE, ffn_dim=128, word_embed_proj_dim=WIDTH, dropout=0.0)),
}


class PadLeft:
    """Pads rows on the left, as some recipes do."""

    def __call__(self, features: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        width = max(len(feature["input_ids"]) for feature in features)
        rows = [[0] * (width - len(feature["input_ids"])) + feature["input_ids"] for feature in features]
        ids = torch.tensor(rows)
        return {
            "input_ids": ids,
            "attention_mask": (ids > 0).long(),
            "labels": ids.masked_fill(ids == 0, -100),
        }


LAYOUTS: dict[str, dict[str, Any]] = {
    "padded, 4 rows": {"per_device_train_batch_size": 4},
    "padded, 8 rows": {"per_device_train_batch_size": 8},
    "padded left, 4": {"per_device_train_batch_size": 4, "collator": PadLeft()},
    "1 row": {"per_device_train_batch_size": 1},
    "bfd packing": {"per_device_train_batch_size": 1, "packing": True},
    "padding-free, 4": {"per_device_train_batch_size": 4, "padding_free": True, "max_length": None},
}
ALPACA_LAYOUTS: dict[str, dict[str, Any]] = {
    "1 row": {"per_device_train_batch_size": 1},
    "padded, 4 rows": {"per_device_train_batch_size": 4},
    "padded, 8 rows": {"per_device_train_batch_size": 8},
    "padded, 32 rows": {"per_device_train_batch_size": 32},
    "bfd, 512 tokens": {"per_device_train_batch_size": 1, "packing": True},
    "bfd, 4096 tokens": {"per_device_train_batch_size": 8, "packing": True},
}


@dataclass(frozen=True)
class Applied:
    """Applied / paper of each example, by its length, and the share of all noise that fell on pads."""

    by_length: dict[int, list[float]]
    on_pads: float

    def root_mean_square(self, length: int) -> float:
        return statistics.fmean(ratio**2 for ratio in self.by_length[length]) ** 0.5

    @property
    def mean(self) -> float:
        return statistics.fmean(ratio for ratios in self.by_length.values() for ratio in ratios)


def numbered(lengths: Sequence[int]) -> list[list[int]]:
    """Make a row of each length whose first token is its number."""
    drawn = random.Random(0)
    return [
        [FIRST + number, *(drawn.randrange(3, FIRST) for _ in range(length - 1))]
        for number, length in enumerate(lengths)
    ]


def applied(
    tool: str, rows: Sequence[list[int]], model: Any, layout: dict[str, Any], alpha: float
) -> Applied:
    """Train one epoch at learning rate 0, and measure what each example got."""
    stock = tool == "TRL"
    settings = {key: value for key, value in layout.items() if key != "collator"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer(),
            data_collator=layout.get("collator"),
            train_dataset=Dataset.from_dict({"input_ids": list(rows), "labels": list(rows)}),
            callbacks=[] if stock else [ExactNEFTune(alpha=alpha)],
            args=SFTConfig(
                **{"max_length": MAX_LENGTH, **settings},
                output_dir=folder,
                neftune_noise_alpha=alpha if stock else None,
                use_cpu=True,
                bf16=False,
                learning_rate=0.0,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                gradient_checkpointing=False,
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
        )
        with first_layer(model) as passes, redirect_stdout(io.StringIO()):
            trainer.train()
            given = list(passes)
        return measured(model, given, [len(row) for row in rows], alpha)


Pass = tuple[dict[str, Any], Tensor]


@contextmanager
def first_layer(model: Any) -> Iterator[list[Pass]]:
    """Note what the model was called with, and what its first layer was given, in each training pass."""
    backbone = model.base_model
    layers = getattr(backbone, "layers", None) or backbone.decoder.layers
    passes: list[Pass] = []
    called: dict[str, Any] = {}

    def backbone_called(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        called.clear()
        called.update(kwargs)

    def layer_reached(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A look of our own at what lies between embedding and layer has the tokens 0 to 7, and is no pass.
        if not torch.equal(called["input_ids"].flatten(), torch.arange(8)):
            passes.append((dict(called), (args[0] if args else kwargs["hidden_states"]).detach().clone()))

    hooks = [
        backbone.register_forward_pre_hook(backbone_called, with_kwargs=True),
        layers[0].register_forward_pre_hook(layer_reached, with_kwargs=True),
    ]
    yield passes
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def measured(model: Any, passes: Sequence[Pass], lengths: Sequence[int], alpha: float) -> Applied:
    """Take from what each pass gave the first layer what it gets for the same batch without noise."""
    model.eval()
    by_length: dict[int, list[float]] = defaultdict(list)
    total = real = 0.0
    for called, noised in passes:
        with first_layer(model) as again:
            model.base_model(**called)
        square = (noised - again[0][1]).double().square().sum(-1)
        total += float(square.sum())
        for line, column in (called["input_ids"] >= FIRST).nonzero().tolist():
            length = lengths[int(called["input_ids"][line, column]) - FIRST]
            energy = float(square[line, column : column + length].sum())
            real += energy
            by_length[length].append((3 * energy) ** 0.5 / alpha)
    return Applied(dict(by_length), on_pads=max(0.0, 1 - real / total))


def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def alpaca_lengths(count: int) -> list[int]:
    """Count the tokens of real Alpaca rows where there are some, else draw lengths of that kind."""
    data = os.environ.get("NEFTUNE_TEST_DATA")
    if not data or not (path := Path(data) / "alpaca_en_demo.json").exists():
        drawn = random.Random(1)
        return [min(MAX_LENGTH, max(12, int(drawn.lognormvariate(5.0, 0.7)))) for _ in range(count)]
    texts = ["\n".join(message.content for message in row.messages) for row in read_rows(path)]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=16_384, show_progress=False))
    preamble = 40  # tokens of Alpaca's fixed words, in every row
    return [min(MAX_LENGTH, preamble + len(encoding.ids)) for encoding in backend.encode_batch(texts[:count])]


def both(
    make: Callable[[], Any], rows: Sequence[list[int]], layout: dict[str, Any], alpha: float
) -> dict[str, Applied]:
    """Measure both tools on the same rows, from the same weights."""
    told = {}
    for tool in ("TRL", "ours"):
        torch.manual_seed(0)
        told[tool] = applied(tool, rows, make(), layout, alpha)
    return told


def four_lengths(alpha: float, copies: int) -> list[dict[str, Any]]:
    rows = numbered(LENGTHS * copies)
    head = "".join(f"{f'L={length}':>9}" for length in LENGTHS) + f"{'on pads':>9}"
    print(f"applied / paper at alpha {alpha:g}, {copies} examples of each length, d = {WIDTH}\n")
    print(f"{'':32}{'TRL, neftune_noise_alpha':^45}  |{'ExactNEFTune':^45}")
    print(f"{'model':15}{'layout':17}{head}  |{head}")
    cells = []
    for model, make in MODELS.items():
        for layout, settings in LAYOUTS.items():
            told = both(make, rows, settings, alpha)
            print(f"{model:15}{layout:17}" + "  |".join(_line(told[tool]) for tool in ("TRL", "ours")))
            for tool, seen in told.items():
                ratios = {str(length): round(seen.root_mean_square(length), 4) for length in LENGTHS}
                cells.append(
                    {"model": model, "layout": layout, "tool": tool, **ratios, "pads": round(seen.on_pads, 4)}
                )
    return cells


def _line(seen: Applied) -> str:
    return "".join(f"{seen.root_mean_square(length):9.3f}" for length in LENGTHS) + f"{seen.on_pads:9.1%}"


def alpaca(alpha: float, count: int) -> list[dict[str, Any]]:
    lengths = alpaca_lengths(count)
    rows = numbered(lengths)
    print(
        f"\n{len(rows)} examples of Alpaca's lengths, {statistics.fmean(lengths):.0f} tokens on average: what"
    )
    print(f"alpha {alpha:g} comes to, the mean over examples (least .. most)\n")
    print(f"{'layout':18}{'TRL, neftune_noise_alpha':>28}{'ExactNEFTune':>28}")
    cells = []
    for layout, settings in ALPACA_LAYOUTS.items():
        told = both(MODELS["Llama"], rows, settings, alpha)
        print(f"{layout:18}" + "".join(f"{_spread(seen, alpha):>28}" for seen in told.values()))
        cells += [
            {"layout": layout, "tool": tool, "mean": round(seen.mean, 4)} for tool, seen in told.items()
        ]
    return cells


def _spread(seen: Applied, alpha: float) -> str:
    every = [ratio * alpha for ratios in seen.by_length.values() for ratio in ratios]
    return f"{statistics.fmean(every):.2f}  ({min(every):.2f} .. {max(every):.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alpha", type=float, default=5.0)
    parser.add_argument("--copies", type=int, default=16, help="examples of each length")
    parser.add_argument("--examples", type=int, default=256, help="of Alpaca's lengths")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # TRL, datasets and transformers warn of each other
    library_logging.set_verbosity_error()
    disable_progress_bars()
    cells = four_lengths(args.alpha, args.copies)
    means = alpaca(args.alpha, args.examples)
    mine = [cell for cell in cells if cell["tool"] == "ours"]
    off = max(abs(cell[str(length)] - 1) for cell in mine for length in LENGTHS)
    off = max(off, *(abs(cell["mean"] - 1) for cell in means if cell["tool"] == "ours"))
    pads = max(cell["pads"] for cell in mine)
    print(f"\nours is off by at most {off:.2%}, with {pads:.2%} of its noise on pads")
    print(
        json.dumps({"benchmark": "noise_table", "alpha": args.alpha, "four_lengths": cells, "alpaca": means})
    )
    return int(off > TOLERANCE or pads > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
