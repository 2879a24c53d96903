"""The report of one run: what it was, what it pays, says and knows, and why that alone is no verdict."""

from collections.abc import Sequence

from neftune_core.report import caveats, curves, differences, kinds
from neftune_core.report.document import (
    Block,
    Cell,
    Column,
    Conclusion,
    MissingPart,
    Report,
    Section,
    Table,
    Words,
)
from neftune_core.report.reading import Measured, Run, at, number, text

_ALONE = "One run is no verdict"
_WHY = "Whether noise helped is told by a series: runs with and without it, paired by at least three seeds."
_BESIDE = "A run and its control are one pair; a verdict needs a series of at least three."
_PLAIN = "This run had no noise: it is what others are held against."


def report_of(run: Run, control: Run | None = None) -> Report:
    """Report a run; ``control`` is the one without noise that it is held against, if there is one."""
    found = named(run.evaluations)
    results = [one.results for _, one in found]
    made = (
        Section(id="run", title="The run", blocks=tuple(_about(run))),
        Section(id="losses", title="Losses of the training", blocks=tuple(_losses(run, control))),
        *kinds.sections(found),
        Section(id="configuration", title="Configuration", blocks=tuple(_configuration(run, control))),
    )
    return Report(
        of="run",
        title=run.name or text(run.record, "spec", "name") or "Run",
        subtitle=subtitle(run),
        verdict=_verdict(run, control),
        caveats=(*caveats.of_run(run, control), *caveats.of_evaluations(results)),
        missing=missing(found),
        sections=tuple(section for section in made if section.blocks),
    )


def named(evaluations: Sequence[Measured]) -> list[tuple[str, Measured]]:
    """Give each evaluation a name where there are several."""
    if len(evaluations) == 1:
        return [("", evaluations[0])]
    return [(one.spec.name or f"evaluation {number}", one) for number, one in enumerate(evaluations, start=1)]


def missing(found: Sequence[tuple[str, Measured]]) -> tuple[MissingPart, ...]:
    """Tell what was asked for and is not there."""
    return tuple(
        MissingPart(what=f"{label}: {part.what}" if label else part.what, why=part.why)
        for label, one in found
        for part in one.results.missing
    )


def subtitle(run: Run) -> str:
    """Say in a line what was trained."""
    model, alpha = text(run.record, "spec", "model") or "a model", run.alpha
    noise = f"NEFTune alpha {alpha:g}" if alpha else "no noise (alpha 0)"
    seed = "" if run.seed is None else f", seed {run.seed}"
    return f"{model}, {noise}{seed}"


def _verdict(run: Run, control: Run | None) -> Conclusion:
    why = _PLAIN if run.alpha == 0 else _WHY if control is None else _BESIDE
    return Conclusion(outcome="none", headline=_ALONE, why=why)


def _about(run: Run) -> list[Block]:
    rows: list[dict[str, Cell]] = [
        {"what": what, "value": value}
        for what, value in (
            ("Model", text(run.record, "spec", "model")),
            ("Revision", text(run.record, "model", "commit") or text(run.record, "spec", "revision")),
            ("Method", text(run.record, "spec", "method")),
            ("Alpha", number(run.record, "spec", "alpha")),
            ("Alpha as measured", number(run.record, "noise", "effective_alpha")),
            ("Distribution", text(run.record, "spec", "noise", "distribution") if run.alpha else None),
            ("Seed", run.seed),
            ("Training rows", number(run.record, "dataset", "train_rows")),
            ("Held-out rows", number(run.record, "dataset", "eval_rows")),
            ("Dropped rows", number(run.record, "resolved", "dropped_rows")),
            ("Steps", number(run.record, "resolved", "total_steps")),
            ("Template", text(run.record, "resolved", "template")),
            ("Precision", text(run.record, "resolved", "precision")),
            ("Dataset, SHA-256", text(run.record, "dataset", "sha256")),
        )
        if value is not None
    ]
    columns = (Column(key="what", title="What"), Column(key="value", title="Value"))
    return [Table(title="What was trained", columns=columns, rows=tuple(rows))]


def _losses(run: Run, control: Run | None) -> list[Block]:
    blocks: list[Block] = [table] if (table := final(run)) is not None else []
    if control is not None:
        blocks += _beside(run, control)
    if (chart := curves.losses(run)) is not None:
        blocks.append(chart)
    return blocks


def final(run: Run) -> Table | None:
    """Show the clean losses of base, best step and last one."""
    rows: list[dict[str, Cell]] = [
        {"rows": rows, "count": count, **values}
        for rows, count, values in (
            (
                "training rows",
                number(run.record, "final", "clean_train_rows"),
                _three(run, "base_clean_train_loss", "best_clean_train_loss", "last_clean_train_loss"),
            ),
            (
                "held-out rows",
                number(run.record, "dataset", "eval_rows"),
                _three(run, "base_eval_loss", "best_eval_loss", "eval_loss"),
            ),
        )
        if any(value is not None for value in values.values())
    ]
    step = number(run.record, "final", "best_step")
    best = "Best step" if step is None else f"Best step ({step:g})"
    columns = (
        Column(key="rows", title="Loss per token of"),
        Column(key="count", title="Rows", form="count"),
        Column(key="base", title="Base", form="loss"),
        Column(key="best", title=best, form="loss"),
        Column(key="last", title="Last step", form="loss"),
    )
    return Table(title="Clean losses, noise off", columns=columns, rows=tuple(rows)) if rows else None


def _three(run: Run, *names: str) -> dict[str, float | None]:
    values = (number(run.record, "final", name) for name in names)
    return dict(zip(("base", "best", "last"), values, strict=True))


def _beside(run: Run, control: Run) -> list[Block]:
    """Hold a run against its control: the last step, and the control's best one."""
    mine = number(run.record, "final", "eval_loss")
    rows: list[dict[str, Cell]] = []
    for what, name in (
        ("the control's last step", "eval_loss"),
        ("the control's best step", "best_eval_loss"),
    ):
        theirs = number(control.record, "final", name)
        if mine is not None and theirs is not None:
            rows.append({"against": what, "run": mine, "control": theirs, "difference": mine - theirs})
    columns = (
        Column(key="against", title="Last step against"),
        Column(key="run", title="This run", form="loss"),
        Column(key="control", title="Control", form="loss"),
        Column(key="difference", title="Difference", form="change"),
    )
    return [
        Table(
            title="Held-out loss beside the control; below zero is better", columns=columns, rows=tuple(rows)
        )
    ]


def _configuration(run: Run, control: Run | None) -> list[Block]:
    blocks: list[Block] = [differences.asked(run)]
    if control is not None:
        blocks.append(differences.between([("this run", run), ("control", control)]))
    versions = at(run.record, "versions")
    if isinstance(versions, dict):
        told = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        blocks.append(Words(text=f"Made with {told}."))
    return blocks
