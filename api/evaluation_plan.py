"""What an evaluation would do and ask, told before it is made: its parts, its prompts, the judge's calls.

Nothing is generated for that, so what depends on the answers' lengths is told as the most it can be.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import Field
from sqlalchemy.orm import Session

from api.bodies import body_as
from api.deps import JobId, Writer
from api.schemas import Schema
from neftune_core.evaluate.plan import Part, planned
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.plan import training_rows
from neftune_core.spec import JobSpec
from neftune_store.evaluations import HELD_OUT, PROMPTS, ROWS
from neftune_store.inputs import Input
from neftune_store.jobs import JobLedger

_QUESTION_TOKENS = 200  # of the judge's own words in each call
_ONE_WORD = 4


class JudgePlan(Schema):
    """What asking the judge can come to; what it has said before is not asked again."""

    calls: int = Field(description="Both orders of each pair, none of them repeated.")
    prompt_tokens: int = Field(description="With answers as long as they may be.")
    completion_tokens: int
    price: float | None = Field(description="At most; null where no prices are told.")


class EvaluationPlan(Schema):
    """What would be done; nothing was made."""

    dry_run: bool = True
    spec: dict[str, Any] = Field(description="What was asked, its defaults filled in.")
    parts: list[str] = Field(description="What is done one after the other, and kept.")
    prompts: int = Field(description="Answered by each who is measured, at most.")
    judge: JudgePlan | None


async def rehearsal(
    request: Request,
    who: Writer,
    asked: Annotated[EvaluationSpec, Depends(body_as(EvaluationSpec))],
    job_id: JobId,
    dry_run: Annotated[bool, Query(description="Check and plan only; nothing is created.")] = False,
) -> EvaluationPlan | None:
    """Rehearse where that is what was asked for."""
    if not dry_run:
        return None
    found: EvaluationPlan = await request.app.state.database.ask(
        partial(_rehearsed, who.project_id, job_id, asked)
    )
    return found


Rehearsal = Annotated[EvaluationPlan | None, Depends(rehearsal)]


def _rehearsed(project_id: str, job_id: str, asked: EvaluationSpec, tx: Session) -> EvaluationPlan:
    jobs = JobLedger(tx)
    inputs = {one.place: one for one in jobs.rehearse(project_id, job_id, asked)}
    parts = planned(asked)
    prompts = _prompts(asked, JobSpec.model_validate(jobs.get(project_id, job_id).spec), inputs)
    return EvaluationPlan(
        spec=asked.model_dump(mode="json"),
        parts=[part.what for part in parts],
        prompts=prompts,
        judge=_judge(asked, [part for part in parts if _is_judged(asked, part)], prompts),
    )


def _prompts(asked: EvaluationSpec, spec: JobSpec, inputs: dict[str, Input]) -> int:
    """Count the rows whose prompts are answered; rows without one are not known here."""
    if not {"diversity", "judge"} & set(asked.kinds):
        return 0
    named = inputs.get(PROMPTS) or inputs.get(HELD_OUT)
    if named is not None and named.dataset is not None:
        return min(named.dataset.rows, asked.prompts.most)
    own = inputs.get(ROWS)
    rows = 0 if own is None or own.dataset is None else own.dataset.rows
    return min(rows - training_rows(rows, spec), asked.prompts.most)


def _is_judged(asked: EvaluationSpec, part: Part) -> bool:
    """Tell whether these answers are put to the judge; the other side's own are what he compares with."""
    if part.kind != "answers" or part.rows != "prompts" or asked.judge is None or part.subject == "other":
        return False
    return not (asked.judge.against == "base" and (part.subject, part.variant) == ("base", "plain"))


def _judge(asked: EvaluationSpec, sides: list[Part], prompts: int) -> JudgePlan | None:
    if asked.judge is None:
        return None
    judge, generation = asked.judge, asked.generation
    pairs = min(prompts, judge.most or prompts)
    calls = 2 * pairs * len(sides)
    longest = min(generation.max_new_tokens or generation.max_total_tokens, generation.max_total_tokens)
    sent = calls * (_QUESTION_TOKENS + generation.max_total_tokens + longest)
    heard = calls * (judge.max_tokens or _ONE_WORD)
    told = judge.price_in is not None and judge.price_out is not None
    price = (sent * (judge.price_in or 0) + heard * (judge.price_out or 0)) / 1e6
    return JudgePlan(calls=calls, prompt_tokens=sent, completion_tokens=heard, price=price if told else None)
