"""The clean held-out losses of a run, example by example, at its last step and at its best one.

What a series is judged by, as a file: ``eval_losses.json``. Losses are sums over an example's trained
tokens, so their total over all tokens is the run's ``eval_loss``. Many examples are put together at random
places into groups of equal size, of which the same can be learnt. Light: loads no torch.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

NAME = "eval_losses.json"
FORMAT = 1
MOST = 10_000  # groups
MAX_BYTES = 4 << 20  # of a file that is read back
_LARGEST = 1e60  # of what 32 bits hold no sum comes near; beyond, a variance's square would overflow


class NotEvalLosses(ValueError):
    """These bytes are not such a file."""


@dataclass(frozen=True)
class Measurement:
    """What the model paid after a step (0: the base), summed over each group's trained tokens."""

    step: int
    losses: Sequence[float]


@dataclass(frozen=True)
class EvalLosses:
    """One run. ``rows`` names the held-out examples: runs with equal names were measured on the same."""

    rows: str
    examples: int
    tokens: Sequence[int]  # of each group
    last: Measurement | None = None  # null where a loss was not finite
    best: Measurement | None = None

    def mean(self, measured: Measurement) -> float:
        """Give the mean loss over all trained tokens."""
        return sum(measured.losses) / sum(self.tokens)


def name_of(keys: Sequence[int], tokens: Sequence[int]) -> str:
    """Name the rows by what tells them apart."""
    return hashlib.sha256(repr((list(keys), list(tokens))).encode()).hexdigest()[:32]


def grouped(values: Sequence[float]) -> list[float]:
    """Add neighbours by turns up to :data:`MOST` numbers; fewer stay as they are."""
    return [sum(values[start::MOST]) for start in range(min(MOST, len(values)))]


def encoded(losses: EvalLosses) -> bytes:
    """Write it down; a file of equal losses has equal bytes."""
    return json.dumps({"format": FORMAT, **asdict(losses)}, separators=(",", ":")).encode() + b"\n"


def decoded(data: bytes) -> EvalLosses:
    """Read it back; what a runner wrote is not trusted."""
    try:
        told = json.loads(data)
        losses = EvalLosses(
            str(told["rows"]),
            int(told["examples"]),
            [_count(each) for each in told["tokens"]],
            _measurement(told["last"], len(told["tokens"])),
            _measurement(told["best"], len(told["tokens"])),
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as fault:
        raise NotEvalLosses(type(fault).__name__) from fault
    if told["format"] != FORMAT or not losses.tokens:
        raise NotEvalLosses("format")
    return losses


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 53:
        raise ValueError
    return value


def _measurement(told: Any, groups: int) -> Measurement | None:
    if told is None:
        return None
    losses = [float(each) for each in told["losses"]]
    if len(losses) != groups or not all(abs(each) < _LARGEST for each in losses):  # a NaN is not below either
        raise ValueError
    return Measurement(int(told["step"]), losses)
