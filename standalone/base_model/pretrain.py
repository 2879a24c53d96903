"""Pretraining: a plain loop over packed rows of our text, Muon for the matrices, AdamW for the rest.

Knows torch. The learning rate follows the steps done, or the time spent if a limit is given; with a time
limit the result depends on the machine's speed, without one only on the seed, the torch build and the
kind of processor.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import structlog
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from .corpus import BOS, END, PAD, Document, documents
from .recipe import LONG, SEED, SHORT, STEPS, TOKENS

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train."""

    steps: int = STEPS
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it."""

    steps: int
    tokens: int
    train_loss: float
    held_out_loss: float
    seconds: float


class Batch(NamedTuple):
    """The tokens of one step and how much each counts."""

    ids: torch.Tensor
    weights: torch.Tensor


def build(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """Make the untrained model: linear sizes are multiples of 64, as nf4 wants them."""
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        use_cache=True,
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()  # each block begins as the identity
    return model


def batches(tokenizer: Tokenizer, seed: int, tokens: int = TOKENS) -> Iterator[Batch]:
    """Pack whole documents into rows, the last one of a row cut; every fourth step has long rows."""
    told = documents(seed)
    for step in count():
        length = LONG if step % 4 == 3 else SHORT
        rows = [packed(tokenizer, told, length) for _ in range(tokens // length)]
        ids, weights = zip(*rows, strict=True)
        yield Batch(torch.tensor(ids), torch.tensor(weights))


def packed(tokenizer: Tokenizer, told: Iterator[Document], length: int) -> tuple[list[int], list[float]]:
    """Fill one row: its token ids, and how much each counts."""
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) < length:
        for part in next(told):
            encoded = tokenizer.encode(part.text, add_special_tokens=False).ids
            ids += encoded
            weights += [part.weight] * len(encoded)
    return ids[:length], weights[:length]


def _optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    matrices = [weight for name, weight in model.named_parameters() if "_proj" in name]
    others = [weight for name, weight in model.named_parameters() if "_proj" not in name]
    return [
        torch.optim.Muon(matrices, lr=0.03, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=0.006, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _rate(progress: float) -> float:
    """Warm up over 2 % of the way, stay, and go down to nothing over the last 60 %."""
    return min(1.0, progress / 0.02 + 0.02, max(0.0, (1.0 - progress) / 0.6))


def held_out_loss(model: LlamaForCausalLM, tokenizer: Tokenizer, steps: int = 8) -> float:
    """Measure the mean loss of answers in text of another seed."""
    with torch.no_grad():
        losses = [_loss(model, batch).item() for batch in islice(batches(tokenizer, SEED + 1), steps)]
    return sum(losses) / steps


def _loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    logits = model(input_ids=batch.ids, use_cache=False).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def pretrain(model: LlamaForCausalLM, tokenizer: Tokenizer, plan: Plan, tokens: int = TOKENS) -> Measured:
    """Train in place, so many tokens a step, and tell how it went."""
    optimizers = _optimizers(model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    started, recent, step = time.monotonic(), 0.0, 0
    for step, batch in enumerate(islice(batches(tokenizer, SEED, tokens), plan.steps), start=1):
        spent = (time.monotonic() - started) / 60
        progress = max(step / plan.steps, spent / plan.minutes if plan.minutes else 0.0)
        if progress > 1:
            break
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * _rate(progress)
        loss = _loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
        if step % 50 == 0 or step == 1:
            log.info("pretrain.step", step=step, loss=round(recent, 4), minutes=round(spent, 2))
    seconds = time.monotonic() - started
    return Measured(step, step * tokens, recent, held_out_loss(model, tokenizer), seconds)
