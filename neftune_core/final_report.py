"""The final report: clean losses of the base, of the best step and of the last one.

The best is the step with the lowest ``eval_loss``, maybe the base itself. It decides nothing: what is
exported is the last, as in the paper. Measuring leaves weights and random generators as they were.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from neftune_core.checkpoints import share, write_tensors
from neftune_core.sampling import shuffled
from neftune_core.tokenise import Example
from neftune_core.training_state import put_weights, weights_of

FEWEST, MOST = 16, 256  # training rows


def clean_rows(train: Sequence[Example], eval_rows: int, seed: int) -> list[Example]:
    """Choose by the seed the training rows that are measured: as many as are held out, within bounds."""
    count = min(max(eval_rows, FEWEST), MOST, len(train))
    return [train[index] for index in sorted(shuffled(len(train), seed, "clean train loss")[:count])]


class Best:
    """The lowest ``eval_loss`` so far. Weights of a step lie in ``file``; the base, step 0, needs none."""

    def __init__(self, file: Path, base_eval_loss: float | None) -> None:
        self._file = file
        self.eval_loss = base_eval_loss
        self.step = None if base_eval_loss is None else 0

    @property
    def file(self) -> Path | None:
        """Give the file of the best weights, unless they are the base's."""
        return self._file if self.step else None

    def saw(self, step: int, eval_loss: float | None, model: nn.Module) -> None:
        """Keep the weights of a step that is better than all before."""
        if eval_loss is not None and (self.eval_loss is None or eval_loss < self.eval_loss):
            write_tensors(self._file, weights_of(model))
            self.step, self.eval_loss = step, eval_loss

    def state(self) -> dict[str, Any]:
        """Give what is remembered, but for the file."""
        return {"step": self.step, "eval_loss": self.eval_loss}

    def go_on(self, state: Mapping[str, Any], file: Path | None) -> None:
        """Remember what another one did, with its file of weights."""
        self.step, self.eval_loss = state["step"], state["eval_loss"]
        if file is not None:
            self._file.unlink(missing_ok=True)
            share(file, self._file)

    def forget(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)


def measured(  # noqa: PLR0913, PLR0917 - whose losses, how they are told, and what else is done
    model: nn.Module,
    best: Best,
    last_step: int,
    clean_train_loss: Callable[[], float | None],
    base: float | None,
    keep_best: Callable[[], object] = lambda: None,
) -> dict[str, float | None]:
    """Measure the last weights and the best ones; ``base`` is the base's clean train loss.

    ``keep_best`` is called while the model has the best weights, where those are not the last or the base's.
    """
    last = clean_train_loss()
    of_best = {None: None, 0: base, last_step: last}.get(best.step)
    if best.file is not None and best.step != last_step:

        def measure() -> float | None:
            keep_best()
            return clean_train_loss()

        of_best = _with_weights(model, best.file, measure)
    return {
        "best_step": best.step,
        "best_eval_loss": best.eval_loss,
        "best_clean_train_loss": of_best,
        "last_clean_train_loss": last,
    }


def table(final: Mapping[str, float | None]) -> str:
    """Lay the report out for the model card."""
    step = final.get("best_step")
    of_best = "best" if step is None else f"best (step {step:g})"

    def line(title: str, *names: str) -> str:
        values = (final.get(name) for name in names)
        return " | ".join([f"| {title}", *("–" if v is None else f"{v:.4f}" for v in values)]) + " |"

    rows = final.get("clean_train_rows") or 0
    return "\n".join(
        [
            f"| clean loss | base | {of_best} | last |",
            "|---|---|---|---|",
            line(
                f"{rows:g} training rows",
                "base_clean_train_loss",
                "best_clean_train_loss",
                "last_clean_train_loss",
            ),
            line("held-out rows", "base_eval_loss", "best_eval_loss", "eval_loss"),
        ]
    )


def _with_weights(model: nn.Module, file: Path, measure: Callable[[], float | None]) -> float | None:
    """Measure with the weights in a file, and put the model's own back by way of another one."""
    aside = file.with_name(f"{file.stem}-aside.safetensors")
    write_tensors(aside, weights_of(model))
    put_weights(model, load_file(file))
    try:
        return measure()
    finally:
        put_weights(model, load_file(aside))
        aside.unlink()
