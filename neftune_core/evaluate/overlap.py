"""How near answers come to references, word by word: ROUGE-L and BLEU, as their own libraries count them.

Tuned without noise, a model repeats more of what it was trained on. The options are those of the libraries'
command lines: no stemming for ROUGE, tokenizer 13a and exponential smoothing for BLEU.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from neftune_core.evaluate.results import Bleu, OverlapOf, Rouge, Subject


def overlap_of(answers: Sequence[str], references: Sequence[str], *, subject: Subject) -> OverlapOf:
    """Compare each answer with its reference; there has to be one pair at least."""
    pairs = list(zip(answers, references, strict=True))
    return OverlapOf(
        subject=subject,
        answers=len(pairs),
        rouge_l=rouge_l(answers, references),
        bleu=bleu(answers, references),
        identical=sum(answer.split() == reference.split() for answer, reference in pairs),
    )


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> Rouge:
    """Give ROUGE-L of the longest common subsequence, the mean over the answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its dependencies say of themselves at import
        from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 - slow to import

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    scores = np.array(
        [
            scorer.score(reference, answer)["rougeL"]
            for answer, reference in zip(answers, references, strict=True)
        ]
    )
    precision, recall, f1 = scores.mean(axis=0).tolist()
    return Rouge(precision=precision, recall=recall, f1=f1)


def bleu(answers: Sequence[str], references: Sequence[str]) -> Bleu:
    """Give corpus BLEU."""
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - slow to import

    metric = BLEU()
    found: Any = metric.corpus_score(list(answers), [list(references)])
    return Bleu(
        score=found.score,
        precisions=tuple(found.precisions),
        brevity_penalty=found.bp,
        answer_words=found.sys_len,
        reference_words=found.ref_len,
        signature=str(metric.get_signature()),
    )
