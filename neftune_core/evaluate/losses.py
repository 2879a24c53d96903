"""Losses example by example, with noise and dropout off, and how they lie.

The mean of a whole split hides what tuning did: the loss of each example shows whether few were learnt by
heart or all became a little better. Measuring leaves no trace in the model.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from neftune_core.batches import Arrangement, lay
from neftune_core.clean_losses import measuring
from neftune_core.evaluate.results import ExampleLosses, Histogram, LossOf, Subject
from neftune_core.evaluate.texts import spread
from neftune_core.losses import LossHead
from neftune_core.speaking import refuse_unless_quiet
from neftune_core.tokenise import Example

TOKENS_AT_ONCE = 8192  # of a micro-batch with its padding
_WIDTHS = (1, 2, 5, 10)  # of a bar, times a power of ten


def example_losses(
    model: object,
    head: LossHead,
    examples: Sequence[Example],
    device: torch.device,
    *,
    ends: Callable[[], bool] = lambda: False,
) -> list[float | None]:
    """Give each example's mean loss over its trained tokens, in the order given; ``None``: not finite.

    Summed in float64. ``ends`` is asked after each batch whether to break off; what was not measured by
    then is ``None``.
    """
    found: list[float | None] = [None] * len(examples)
    with measuring(model):
        refuse_unless_quiet(model)
        for members in _grouped(examples):
            batch = [examples[member] for member in members]
            losses = (
                head(lay(batch, Arrangement(len(batch), pad_id=0)).to(device)).loss_M.double().cpu().numpy()
            )
            last = np.cumsum([example.trained_tokens for example in batch])
            for member, part in zip(members, np.split(losses, last[:-1]), strict=True):
                mean = float(part.mean())
                found[member] = mean if math.isfinite(mean) else None
            if ends():
                break
    return found


def losses_of(measured: ExampleLosses, edges: Sequence[float], file: str) -> LossOf:
    """Sum up what was measured of a subject on rows."""
    pairs = [
        (loss, tokens)
        for loss, tokens in zip(measured.loss, measured.tokens, strict=True)
        if loss is not None
    ]
    values = [loss for loss, _ in pairs]
    tokens = sum(count for _, count in pairs)
    whole = len(pairs) == len(measured.loss) and tokens > 0
    return LossOf(
        subject=measured.subject,
        rows=measured.rows,
        examples=len(measured.loss),
        tokens=sum(measured.tokens),
        per_token=math.fsum(loss * count for loss, count in pairs) / tokens if whole else None,
        per_example=spread(values),
        histogram=Histogram(
            edges=tuple(edges), counts=tuple(np.histogram(values, np.array(edges))[0].tolist())
        ),
        file=file,
    )


def edges_for(measured: Sequence[ExampleLosses], bins: int) -> tuple[float, ...]:
    """Give bars for all who were measured on the same rows: at most so many, each a round number wide.

    They lie on a grid that begins at 0, so those of several runs can be laid over one another.
    """
    values = [loss for one in measured for loss in one.loss if loss is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    width, first, count = _grid(low, high, bins)
    return tuple(round((first + number) * width, 9) for number in range(count + 1))


def by_rows(measured: Sequence[ExampleLosses]) -> Mapping[str, Sequence[ExampleLosses]]:
    """Put together who was measured on the same rows."""
    found: dict[str, list[ExampleLosses]] = {}
    for one in measured:
        found.setdefault(one.rows, []).append(one)
    return found


def measured_losses(
    subject: Subject, rows: str, examples: Sequence[Example], losses: Sequence[float | None]
) -> ExampleLosses:
    """Put losses beside the rows they are of."""
    return ExampleLosses(
        subject=subject,
        rows=rows,
        row=tuple(example.row for example in examples),
        loss=tuple(losses),
        tokens=tuple(example.trained_tokens for example in examples),
    )


def _grouped(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Give the places of examples that are computed together: of like length, the longest first."""
    order = sorted(range(len(examples)), key=lambda place: -len(examples[place].ids))
    while order:
        size = max(1, TOKENS_AT_ONCE // len(examples[order[0]].ids))
        members, order = order[:size], order[size:]
        yield members


def _grid(low: float, high: float, bins: int) -> tuple[float, int, int]:
    """Find the narrowest round width with which so many bars hold all: width, first bar, bars."""
    power = 10.0 ** math.floor(math.log10(max((high - low) / bins, 1e-6)))
    for factor in _WIDTHS:
        width = factor * power
        first, last = math.floor(low / width), math.floor(high / width)
        if last - first < bins:
            return width, first, last - first + 1
    return 20 * power, math.floor(low / (20 * power)), bins
