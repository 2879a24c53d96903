"""What evaluations of a run found, kind by kind, as sections: the checkpoint beside the base."""

from collections.abc import Iterator, Sequence

from neftune_core.evaluate.results import DiversityOf, LossOf, Of, Results, Subject, Variant
from neftune_core.report.axes import axis
from neftune_core.report.document import (
    Bars,
    Block,
    Cell,
    Column,
    Counts,
    Pairs,
    Section,
    Table,
    Words,
)
from neftune_core.report.pairs import picked, sides
from neftune_core.report.reading import Measured

_VARIANTS = {
    "plain": "",
    "min_length": ", no end before a minimum",
    "long_prompt": ", asked for long answers",
}
_NOT_GIVEN = "Words stand between white space. Repetition is the share of n-grams that came before in a text."
_DIVERSITY = (
    "Answers are cut to a number of words, and shorter ones left out, so that length does not decide. "
    "Log-diversity is as the paper's words define it; the published one is what the published code computes: "
    "compare each with its own kind alone."
)
_PAIRED = (
    "Each prompt was picked by the rule that stands above it; greedy answers, of the first prompts asked."
)

Found = Sequence[tuple[str, Measured]]  # each evaluation, and what to call it ("" where there is one)
Row = dict[str, Cell]


def sections(found: Found) -> tuple[Section, ...]:
    """Tell all kinds of which there is a result."""
    made = (
        Section(id=name, title=title, blocks=tuple(blocks))
        for name, title, blocks in (
            ("loss", "Losses with the noise off", _loss(found)),
            ("overlap", "Overlap with the training answers", _overlap(found)),
            ("diversity", "Length and diversity of answers", _diversity(found)),
            ("judge", "Judge", _judge(found)),
            ("benchmarks", "Benchmarks", _benchmarks(found)),
            ("answers", "Answers side by side", _pairs(found)),
        )
    )
    return tuple(section for section in made if section.blocks)


def who(label: str, of: Of, subject: Subject, variant: Variant = "plain") -> str:
    """Name who was measured."""
    if subject == "checkpoint":
        step = "" if of.step is None else f", step {of.step}"
        named = f"{of.checkpoint} checkpoint{step}" if of.checkpoint != "step" else f"checkpoint{step}"
    else:
        named = "base" if subject == "base" else "other run"
    return (f"{label}: " if label else "") + named + _VARIANTS[variant]


def _each(found: Found) -> Iterator[tuple[str, Results]]:
    yield from ((label, one.results) for label, one in found)


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row]) -> list[Block]:
    """Lay out rows; a column in which nothing stands is left out."""
    told = tuple(one for one in columns if any(row.get(one.key) is not None for row in rows))
    return [Table(title=title, columns=told, rows=tuple(rows))] if rows else []


def _loss(found: Found) -> list[Block]:
    rows: list[Row] = []
    charts: list[Block] = []
    for label, results in _each(found):
        for one in results.loss:
            rows.append(
                {
                    "of": who(label, results.of, one.subject),
                    "rows": one.rows,
                    "examples": one.examples,
                    "per_token": one.per_token,
                    "per_example": one.per_example.mean,
                    "std": one.per_example.std,
                    "median": one.per_example.median,
                }
            )
        charts += _histograms(label, results)
    columns = (
        Column(key="of", title="Of"),
        Column(key="rows", title="Rows"),
        Column(key="examples", title="Examples", form="count"),
        Column(key="per_token", title="Loss per token", form="loss"),
        Column(key="per_example", title="Mean of the examples", form="loss"),
        Column(key="std", title="Their deviation", form="loss"),
        Column(key="median", title="Their median", form="loss"),
    )
    return [*_table("Clean losses", columns, rows), *charts]


def _histograms(label: str, results: Results) -> Iterator[Bars]:
    by_rows: dict[str, list[LossOf]] = {}
    for one in results.loss:
        if len(one.histogram.edges) > 1:
            by_rows.setdefault(one.rows, []).append(one)
    for rows, ones in by_rows.items():
        edges = ones[0].histogram.edges
        same = [one for one in ones if one.histogram.edges == edges]
        yield bars(
            f"{label}{': ' if label else ''}losses of the examples of {rows}",
            edges,
            [(who("", results.of, one.subject), one.histogram.counts) for one in same],
        )


def bars(title: str, edges: Sequence[float], series: Sequence[tuple[str, Sequence[int]]]) -> Bars:
    """Draw histograms over one another."""
    counts = [count for _, told in series for count in told]
    return Bars(
        title=title,
        x=axis("mean loss of an example", edges),
        y=axis("examples", counts, whole=True, from_zero=True),
        edges=tuple(edges),
        series=tuple(Counts(name=name, counts=tuple(told)) for name, told in series),
    )


def _overlap(found: Found) -> list[Block]:
    rows: list[Row] = [
        {
            "of": who(label, results.of, one.subject),
            "answers": one.answers,
            "rouge_l": one.rouge_l.f1,
            "precision": one.rouge_l.precision,
            "recall": one.rouge_l.recall,
            "bleu": one.bleu.score,
            "identical": one.identical,
        }
        for label, results in _each(found)
        for one in results.overlap
    ]
    columns = (
        Column(key="of", title="Of"),
        Column(key="answers", title="Answers", form="count"),
        Column(key="rouge_l", title="ROUGE-L", form="share"),
        Column(key="precision", title="Precision", form="share"),
        Column(key="recall", title="Recall", form="share"),
        Column(key="bleu", title="BLEU", form="number"),
        Column(key="identical", title="Word for word", form="count"),
    )
    return _table("Greedy answers to training prompts against what was trained on", columns, rows)


def _diversity(found: Found) -> list[Block]:
    ones = [
        (who(label, of.of, one.subject, one.variant), one)
        for label, of in _each(found)
        for one in of.diversity
    ]
    if not ones:
        return []
    lengths = (
        Column(key="of", title="Of"),
        Column(key="answers", title="Answers", form="count"),
        Column(key="empty", title="Empty", form="count"),
        Column(key="characters", title="Characters", form="number"),
        Column(key="words", title="Words", form="number"),
        Column(key="tokens", title="Tokens", form="number"),
        Column(key="two", title="Repeated pairs", form="share"),
        Column(key="three", title="Repeated threes", form="share"),
        Column(key="four", title="Repeated fours", form="share"),
    )
    chunks = (
        Column(key="of", title="Of"),
        Column(key="cut", title="Cut to words", form="count"),
        Column(key="kept", title="Kept", form="count"),
        Column(key="dropped", title="Left out", form="count"),
        *lengths[-3:],
        Column(key="log_diversity", title="Log-diversity", form="number"),
        Column(key="log_diversity_published", title="Log-diversity as published", form="number"),
    )
    return [
        *_table("Length and repetition, whole answers (means)", lengths, [_length(*one) for one in ones]),
        Words(text=_NOT_GIVEN),
        *_table(
            "Diversity of answers cut to equal length", chunks, [row for one in ones for row in _chunks(*one)]
        ),
        Words(text=_DIVERSITY),
    ]


def _length(name: str, one: DiversityOf) -> Row:
    return {
        "of": name,
        "answers": one.answers,
        "empty": one.empty,
        "characters": one.characters.mean,
        "words": one.words.mean,
        "tokens": None if one.tokens is None else one.tokens.mean,
        **({} if one.whole is None else one.whole.model_dump()),
    }


def _chunks(name: str, one: DiversityOf) -> Iterator[Row]:
    for chunk in one.chunks:
        yield {
            "of": name,
            "cut": chunk.words,
            "kept": chunk.kept,
            "dropped": chunk.dropped,
            **({} if chunk.repetition is None else chunk.repetition.model_dump()),
            "log_diversity": chunk.log_diversity,
            "log_diversity_published": chunk.log_diversity_published,
        }


def _judge(found: Found) -> list[Block]:
    rows: list[Row] = []
    for label, results in _each(found):
        for one in results.judge:
            raw, controlled, position = one.win_rate, one.length_controlled, one.position
            rows.append(
                {
                    "of": who(label, results.of, one.subject, one.variant),
                    "against": one.against,
                    "model": one.model,
                    "judged": one.judged,
                    "pairs": one.pairs,
                    "wins": one.wins,
                    "losses": one.losses,
                    "ties": one.ties,
                    "win_rate": None if raw is None else raw.percent,
                    "win_rate_error": None if raw is None else raw.standard_error,
                    "controlled": None if controlled is None else controlled.percent,
                    "controlled_error": None if controlled is None else controlled.standard_error,
                    "first": None if position is None else position.first_percent,
                    "biased": None if position is None else position.biased,
                    "disagreed": None if position is None else position.disagreed,
                    "characters": one.characters,
                    "characters_other": one.characters_other,
                    "calls": one.cost.calls,
                    "price": one.cost.price,
                }
            )
    columns = (
        Column(key="of", title="Of"),
        Column(key="against", title="Against"),
        Column(key="model", title="Judge"),
        Column(key="judged", title="Judged", form="count"),
        Column(key="pairs", title="Of pairs", form="count"),
        Column(key="wins", title="Won", form="count"),
        Column(key="losses", title="Lost", form="count"),
        Column(key="ties", title="Ties", form="count"),
        Column(key="win_rate", title="Win rate", form="percent"),
        Column(key="win_rate_error", title="Its error", form="percent"),
        Column(key="controlled", title="At equal length", form="percent"),
        Column(key="controlled_error", title="Its error", form="percent"),
        Column(key="first", title="First place won", form="percent"),
        Column(key="biased", title="Position bias"),
        Column(key="disagreed", title="Orders disagreed", form="count"),
        Column(key="characters", title="Characters", form="number"),
        Column(key="characters_other", title="Of the other side", form="number"),
        Column(key="calls", title="Calls", form="count"),
        Column(key="price", title="Price", form="number"),
    )
    return _table("Preference for the answers over the other side's, asked in both orders", columns, rows)


def _benchmarks(found: Found) -> list[Block]:
    rows: list[Row] = []
    for label, results in _each(found):
        subject: Subject = "base" if results.of.checkpoint == "base" else "checkpoint"
        for one in results.benchmarks:
            told = one.model_dump(exclude={"asked", "version"})
            rows.append({"of": who(label, results.of, subject), **told})
    columns = (
        Column(key="of", title="Of"),
        Column(key="task", title="Task"),
        Column(key="metric", title="Metric"),
        Column(key="filter", title="Filter"),
        Column(key="num_fewshot", title="Shown", form="count"),
        Column(key="documents", title="Documents", form="count"),
        Column(key="value", title="Score", form="share"),
        Column(key="standard_error", title="Its error", form="share"),
        Column(key="base", title="Base", form="share"),
        Column(key="base_standard_error", title="Its error", form="share"),
        Column(key="difference", title="Difference", form="change"),
        Column(key="difference_standard_error", title="Its error", form="share"),
    )
    return _table("Tasks of lm-eval, and the difference to the base on the same documents", columns, rows)


def _pairs(found: Found) -> list[Block]:
    blocks: list[Block] = []
    for label, measured in found:
        results = measured.results
        files = {(one.on, one.subject, one.variant): one.file for one in results.answers}
        ours = files.get(("prompts", "checkpoint", "plain"))
        theirs = files.get(("prompts", "base", "plain"))
        if ours is None or theirs is None:
            continue
        judged = next(
            (
                one.file
                for one in results.judge
                if (one.subject, one.variant, one.against) == ("checkpoint", "plain", "base")
            ),
            None,
        )
        said = None if judged is None else measured.files(judged)
        both = sides(measured.files(ours), measured.files(theirs), said)
        names = (who("", results.of, "checkpoint"), "base")
        if pairs := picked(both, names):
            blocks.append(Pairs(title=f"{label}{': ' if label else ''}tuned beside base", pairs=pairs))
    return [Words(text=_PAIRED), *blocks] if blocks else []
