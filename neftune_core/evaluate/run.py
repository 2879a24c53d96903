"""An evaluation from its spec to its results, part by part, so that a crash costs one part at most.

All parts of the base, then all of the checkpoint, each loaded once; then what is computed from losses and
answers alone. Knows models and parts; the process is :mod:`neftune_core.evaluate.command`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core import prompts
from neftune_core.errors import CoreError
from neftune_core.evaluate.answering import Answering, Speaker
from neftune_core.evaluate.assembly import Found, assembled
from neftune_core.evaluate.benchmarks import Bench
from neftune_core.evaluate.comparison import kept
from neftune_core.evaluate.losses import example_losses, measured_losses
from neftune_core.evaluate.material import Material
from neftune_core.evaluate.parts import Parts
from neftune_core.evaluate.plan import Part, planned
from neftune_core.evaluate.questions import NotThere
from neftune_core.evaluate.results import Of, Results, Subject, written
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.evaluate.subject import Weights
from neftune_core.failpoint import failpoint
from neftune_core.losses import LossHead
from neftune_core.ports import Reporter, StopSignal
from neftune_core.walk import Stopped

TELL_SECONDS = 10.0  # between two words of a part that has none of its own


@dataclass(frozen=True)
class Surroundings:
    """What an evaluation works with, beside its spec."""

    material: Material
    weights: Weights
    of: Of
    parts: Parts
    reporter: Reporter
    stop: StopSignal
    tasks: Path | None = None  # benchmarks of the operator's own, and data


class Evaluation:
    """One evaluation."""

    def __init__(self, spec: EvaluationSpec, around: Surroundings) -> None:
        self._spec, self._around = spec, around
        self._parts, self._reporter = around.parts, around.reporter
        self._held: tuple[Subject, Any] | None = None  # who is loaded

    def run(self) -> tuple[Results, Found]:
        """Do what is not done yet and put all together; raises :class:`Stopped`, with all kept, if asked."""
        plan = planned(self._spec)
        names = [part.name for part in plan]
        done = [name for name in names if self._parts.done(name) is not None]
        self._reporter.event("evaluation.planned", {"parts": names, "done": len(done)})
        for number, part in enumerate(plan, 1):
            if part.name not in done:
                self._do(part)
            self._reporter.event("evaluation.part", {"name": part.name, "number": number, "of": len(plan)})
        self._held = None
        found = {part: self._parts.done(part.name) for part in plan}
        return assembled(self._spec, self._around.of, found), found

    def _do(self, part: Part) -> None:
        """Do one part, and keep what it found, or why it is missing."""
        self._end_if_asked()
        try:
            found = self._found(part)
        except NotThere as why:
            found = {"missing": str(why)}
        self._parts.keep(part.name, found)
        self._lay_out()
        failpoint("evaluation.part")

    def _found(self, part: Part) -> dict[str, Any]:
        if part.kind == "losses":
            return self._losses(part)
        return self._answers(part) if part.kind == "answers" else self._benchmark(part)

    def _losses(self, part: Part) -> dict[str, Any]:
        examples = self._around.material.examples(part.rows)
        model = self._loaded(part.subject)
        head = LossHead(model, model.device)
        losses = example_losses(model, head, examples, model.device, ends=self._around.stop.requested)
        self._end_if_asked()
        return written(measured_losses(part.subject, part.rows, examples, losses))

    def _answers(self, part: Part) -> dict[str, Any]:
        material, stop = self._around.material, self._around.stop
        questions = material.questions(part.rows)
        if part.subject == "other" and self._around.weights.other is None:
            raise NotThere("The other run is not at hand.")
        speaker = Speaker(
            self._loaded(part.subject),
            material.tokenizer,
            self._template(),
            generator=self._named(part),
            dataset=(self._spec.prompts.dataset or "held_out") if part.rows == "prompts" else part.rows,
        )
        answering = Answering(self._spec, part, speaker)
        answering.go_on(self._parts.partial(part.name))

        def keep() -> None:
            self._parts.keep_partial(part.name, answering.so_far())
            self._lay_out()
            failpoint("evaluation.answers")

        def tell(done: int) -> None:
            told = {"name": part.name, "done": done, "of": len(questions)}
            self._reporter.event("evaluation.progress", told)

        answering.answer(questions, keep=keep, tell=tell, ends=stop.requested)
        if stop.requested():
            keep()
            raise Stopped
        return answering.found(questions)

    def _benchmark(self, part: Part) -> dict[str, Any]:
        asked = self._spec.benchmarks
        heard = self._heard(part)
        bench = Bench(self._around.tasks, asked.num_fewshot, asked.limit, asked.batch_size, heard)
        try:
            scores = bench.score(self._loaded(part.subject), self._around.material.tokenizer, part.rows)
        except CoreError as error:
            raise NotThere(str(error)) from error
        return kept(scores)

    def _heard(self, part: Part) -> Callable[[], None]:
        """Give what is called at each pass of something long: it ends when asked, and tells now and then."""
        passes, told_at = 0, time.monotonic()

        def hear() -> None:
            nonlocal passes, told_at
            self._end_if_asked()
            passes += 1
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                self._reporter.event("evaluation.progress", {"name": part.name, "done": passes})

        return hear

    def _loaded(self, subject: Subject) -> Any:
        """Have who is measured in memory; who was there before goes first."""
        if self._held is None or self._held[0] != subject:
            self._held = None
            self._reporter.event("evaluation.loading", {"subject": subject})
            self._held = (subject, self._around.weights.load(subject))
        return self._held[1]

    def _template(self) -> prompts.PromptTemplate:
        asked = self._spec.generation.template
        return self._around.material.template if asked == "run" else asked

    def _named(self, part: Part) -> str:
        """Name who answered, as AlpacaEval's leaderboard would."""
        of = self._around.of
        if part.subject == "other" and self._spec.judge is not None:
            return f"{of.model} {self._spec.judge.run}"
        tuned = "" if part.subject == "base" else f" alpha {of.alpha or 0:g} {of.checkpoint}"
        return f"{of.model}{tuned}{'' if part.variant == 'plain' else f' {part.variant}'}"

    def _lay_out(self) -> None:
        step, folder = self._parts.lay_out()
        self._reporter.checkpoint(step, folder)

    def _end_if_asked(self) -> None:
        if self._around.stop.requested():
            raise Stopped
