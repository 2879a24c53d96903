"""What the messages of a run have told so far: its losses, how far it is, and how long it may take.

Knows the messages of the stream. Draws nothing and asks nobody.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # to tell the time, no HTTP is needed
    from neftune_client.stream import Message

LOSSES = {"train_loss": "loss (with noise)", "clean_train_loss": "clean loss", "eval_loss": "held-out loss"}
_BESIDE = ("tokens_per_s", "epoch", "noise_effective_alpha")
_WINDOW = 40  # steps that tell the pace
_SHORTEST_S = 1.0  # what was kept comes in at once and tells nothing of the pace


class Curve:
    """The story of one job, as a follower knows it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.step = 0
        self.total = 0
        self.status = "queued"
        self.error: Mapping[str, Any] | None = None
        self.latest: dict[str, float] = {}
        self.base_eval_loss: float | None = None
        self.verified: dict[str, Any] = {}
        self._train: dict[int, float] = {}
        self._clock = clock
        self._arrived: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    @property
    def losses(self) -> list[float]:
        """Give the noisy losses in the order of their steps."""
        return [self._train[step] for step in sorted(self._train)]

    @property
    def eta_s(self) -> float | None:
        """Estimate what is left, in seconds, from how the last steps came in."""
        if len(self._arrived) < 2 or not self.total:
            return None
        (began, first), (now, last) = self._arrived[0], self._arrived[-1]
        if now - began < _SHORTEST_S or last <= first:
            return None
        return (self.total - last) * (now - began) / (last - first)

    def hear(self, message: "Message") -> None:
        """Take in one message."""
        if message.kind == "metric":
            self._measure(int(message.data["step"]), message.data["values"])
        elif message.kind == "status":
            self.status, self.error = message.data["status"], message.data.get("error")
        elif message.kind == "event":
            self._happened(message.data["name"], message.data["data"])

    def _happened(self, name: str, data: dict[str, Any]) -> None:
        if name == "run.planned":
            self.total = int(data["total_steps"])
        elif name == "neftune.verified":
            self.verified = data
        elif name == "run.started":
            self._arrived.clear()
        elif name == "rewound":  # steps run again: what was drawn of them goes
            self.step = int(data["step"])
            self._train = {step: loss for step, loss in self._train.items() if step <= self.step}
            self._arrived.clear()

    def _measure(self, step: int, values: Mapping[str, float | None]) -> None:
        self.step = max(self.step, step)
        shown = (*LOSSES, *_BESIDE)
        self.latest |= {name: value for name in shown if (value := values.get(name)) is not None}
        if step == 0 and (base := values.get("eval_loss")) is not None:
            self.base_eval_loss = base
        if (loss := values.get("train_loss")) is not None:
            self._train[step] = loss
            self._arrived.append((self._clock(), step))

    def told(self) -> str:
        """Say the latest losses in a line."""
        return "  ".join(f"{LOSSES[name]} {self.latest[name]:.4f}" for name in LOSSES if name in self.latest)

    def beside(self) -> str:
        """Say in a line how fast it goes, how long it may take, and the alpha that was measured."""
        parts = []
        if (epoch := self.latest.get("epoch")) is not None:
            parts.append(f"epoch {epoch:.2f}")
        if (speed := self.latest.get("tokens_per_s")) is not None:
            parts.append(f"{speed:,.0f} tokens/s")
        if (left := self.eta_s) is not None and self.status == "running":
            parts.append(f"about {duration(left)} left")
        alpha = self.verified.get("effective_alpha", self.latest.get("noise_effective_alpha"))
        if alpha is not None:
            parts.append(f"alpha measured {alpha:.2f}")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Say a time as people do: 42 s, 12 min, 3 h 05."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02}"
