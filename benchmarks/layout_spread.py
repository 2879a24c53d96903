"""How far the losses of the same steps lie apart in other layouts: ours, and the stock hook in TRL.

    python benchmarks/layout_spread.py [--steps 8] [--alpha 10]

Eight examples a step, Alpaca rows (see train_tokens.py), a small random Llama trained whole in fp32 without
dropout. Each layout takes the same steps from the same weights; printed is the largest difference of a
step's loss to the layout 8x1. TRL's ``neftune_noise_alpha`` draws from the global generator and scales by
the padded width, so its losses move with the layout. Ends with 1 if ours do.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from train_tokens import CONFIG, CPU, MAX_LENGTH, alpaca_rows, tokenizer_of
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as library_logging
from trl import SFTConfig, SFTTrainer

from neftune_core.batches import Arrangement, Step, steps
from neftune_core.losses import LossHead
from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.packed_attention import use_packed_attention
from neftune_core.prompts import render
from neftune_core.spec import TrainingSpec
from neftune_core.stepper import Stepper
from neftune_core.tokenise import beginning, prepare

SMALL = {**CONFIG, "hidden_size": 192, "intermediate_size": 256, "num_hidden_layers": 2}
LEARNING_RATE = 1e-3
PROMISED = 1e-5
OURS = {
    "8x1": Arrangement(8, 0),
    "4x2": Arrangement(4, 0),
    "1x8": Arrangement(1, 0),
    "left": Arrangement(8, 0, "left"),
    "packed": Arrangement(8, 0, "packed"),
}


def fresh() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL))


def ours(plan: Sequence[Step], arrangement: Arrangement, alpha: float) -> list[float]:
    model = fresh()
    if arrangement.rows == "packed" and (fault := use_packed_attention(model.eval(), CPU)):
        raise SystemExit(fault)
    with noisy_embeddings(model, Noise(alpha, 42)) as noisy:
        stepper = Stepper(model, LossHead(model, CPU), noisy, TrainingSpec(), arrangement=arrangement)
        return [stepper.take(step, LEARNING_RATE).loss or float("nan") for step in plan]


def stock(plan: Sequence[Step], micro: int, alpha: float, tokenizer: Any) -> list[float]:
    rows = [
        {"input_ids": example.ids.tolist(), "completion_mask": example.trained.astype(int).tolist()}
        for step in plan
        for example in step.examples
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=8 // micro,
            train_sampling_strategy="sequential",
            max_steps=len(plan),
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            gradient_checkpointing=False,
            max_length=MAX_LENGTH,
            completion_only_loss=True,
            neftune_noise_alpha=alpha or None,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model=fresh(), processing_class=tokenizer, train_dataset=Dataset.from_list(rows), args=config
        )
        trainer.train()
        return [told["loss"] for told in trainer.state.log_history if "loss" in told]


def spread(told: dict[str, list[float]]) -> dict[str, float]:
    """Give each layout's largest difference to the first."""
    first, *rest = told
    return {
        name: max(abs(one - other) for one, other in zip(told[first], told[name], strict=True))
        for name in rest
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=10.0)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    library_logging.set_verbosity_error()
    torch.set_num_threads(1)

    rows = alpaca_rows(1000)
    tokenizer = tokenizer_of(rows)
    rendered = ((number, render(row, "alpaca", tokenizer)) for number, row in enumerate(rows))
    examples = prepare(rendered, tokenizer, MAX_LENGTH, beginning(tokenizer)).examples
    plan = list(steps(examples, 8, args.steps, seed=42))
    result = {
        "ours": spread({name: ours(plan, laid, args.alpha) for name, laid in OURS.items()}),
        "stock": spread(
            {f"{micro}x{8 // micro}": stock(plan, micro, args.alpha, tokenizer) for micro in (8, 4, 1)}
        ),
        "stock without noise": spread(
            {f"{micro}x{8 // micro}": stock(plan, micro, 0.0, tokenizer) for micro in (8, 1)}
        ),
    }
    for whose, told in result.items():
        print(f"{whose:20}", ", ".join(f"{name} {apart:.1e}" for name, apart in told.items()))
    print(json.dumps(result))
    return int(max(result["ours"].values()) > PROMISED)


if __name__ == "__main__":
    sys.exit(main())
