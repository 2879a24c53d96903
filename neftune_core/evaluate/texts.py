"""Length and repetition of texts: what tells long answers from good ones, and loops from prose.

Repetition of n-grams is the share that had come before within a text; diversity is the product of what is
left for n = 2, 3 and 4. Words stand between white space. Pure: knows neither models nor files.
"""

import math
from collections.abc import Sequence

import numpy as np

from neftune_core.evaluate.results import Chunk, DiversityOf, Repetition, Spread, Subject, Variant

NS = (2, 3, 4)
_FLOOR = math.exp(-20)  # of what the logarithm is taken of: without any repetition log-diversity is 20

Words = Sequence[str]


def repetition(words: Words, n: int) -> float:
    """Give the share of n-grams that had come before; a text has to have one."""
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams)


def log_diversity(words: Words) -> float:
    """Give the log-diversity as it is defined."""
    diversity = math.prod(1 - repetition(words, n) for n in NS)
    return -math.log(max(1 - diversity, _FLOOR))


def log_diversity_published(words: Words) -> float:
    """Give what the published code computes under that name: its numbers, and no others, can be compared.

    It divides shares by a hundred as if they were per cent, and leaves out the last n-gram of a text.
    """
    diversity = math.prod(1 - repetition(words[:-1], n) / 100 for n in NS)
    return -math.log(max(1 - diversity, _FLOOR))


def chunk(texts: Sequence[Words], words: int) -> Chunk:
    """Cut texts to so many words and leave out those that have fewer; means over the rest."""
    cut = [text[:words] for text in texts if len(text) >= words]
    return Chunk(
        words=words,
        kept=len(cut),
        dropped=len(texts) - len(cut),
        repetition=repetitions(cut),
        log_diversity=_mean([log_diversity(text) for text in cut]),
        log_diversity_published=_mean([log_diversity_published(text) for text in cut]),
    )


def repetitions(texts: Sequence[Words]) -> Repetition | None:
    """Give the mean repetition of the texts that are long enough to have all n-grams."""
    long = [text for text in texts if len(text) >= max(NS)]
    if not long:
        return None
    two, three, four = (float(np.mean([repetition(text, n) for text in long])) for n in NS)
    return Repetition(two=two, three=three, four=four)


def diversity_of(
    texts: Sequence[str],
    tokens: Sequence[int] | None,
    cuts: Sequence[int],
    *,
    subject: Subject = "checkpoint",
    variant: Variant = "plain",
) -> DiversityOf:
    """Measure answers; ``tokens`` are their lengths by the model's tokenizer, where there is one."""
    words = [text.split() for text in texts]
    characters = [len(text) for text in texts]
    return DiversityOf(
        subject=subject,
        variant=variant,
        answers=len(texts),
        empty=sum(not text for text in words),
        characters=spread(characters),
        characters_as_listed=int(np.mean(characters)) if texts else None,
        words=spread([len(text) for text in words]),
        tokens=None if tokens is None else spread(tokens),
        whole=repetitions(words),
        chunks=tuple(chunk(words, cut) for cut in cuts),
    )


def spread(values: Sequence[float]) -> Spread:
    """Tell how numbers lie; those that are not finite are left out."""
    found = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(found):
        nothing = dict.fromkeys(("mean", "std", "low", "quarter", "median", "three_quarters", "high"))
        return Spread(count=0, **nothing)
    low, quarter, median, three_quarters, high = np.quantile(found, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return Spread(
        count=len(found),
        mean=float(found.mean()),
        std=float(found.std(ddof=1)) if len(found) > 1 else None,
        low=low,
        quarter=quarter,
        median=median,
        three_quarters=three_quarters,
        high=high,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
