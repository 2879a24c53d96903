"""Runs and evaluations as a report finds them, made by hand: a test names only what it is about."""

from neftune_core.evaluate.results import Results
from neftune_core.report.reading import Measured, Run
from neftune_core.spec import JobSpec

PROMPTS = ["What is one?", "What is two?", "What is three?", "What is four?"]


def spec(*, alpha=5.0, seed=42, **fields):
    training = {"seed": seed, **fields.pop("training", {})}
    asked = {"model": "acme/tiny", "dataset": "ds_1", "alpha": alpha, "training": training, **fields}
    return JobSpec.model_validate(asked).model_dump(mode="json")


def record(*, alpha=5.0, seed=42, final=None, eval_rows=200, steps=30, asked=None, **parts):
    return {
        "spec": spec(alpha=alpha, seed=seed, **(asked or {})),
        "resolved": {"total_steps": steps, "template": "alpaca", "precision": "fp32"},
        "model": {"id": "acme/tiny", "commit": None, "files": {"model.safetensors": "ab" * 32}},
        "dataset": {"sha256": "cd" * 32, "rows": 500, "train_rows": 300, "eval_rows": eval_rows},
        "versions": {"torch": "2.13.0"},
        "hardware": {"cpus": 2},
        "seed": seed,
        "noise": {"alpha": alpha, "effective_alpha": alpha * 1.01},
        "final": {
            "base_eval_loss": 3.8204,
            "eval_loss": 3.7951,
            "best_step": steps,
            "best_eval_loss": 3.7951,
            "base_clean_train_loss": 3.9017,
            "best_clean_train_loss": 3.1046,
            "last_clean_train_loss": 3.1046,
            "clean_train_rows": 150,
            **(final or {}),
        },
        **parts,
    }


def curve(steps=30):
    return [
        (
            step,
            {"train_loss": 4 - step / 40, "clean_train_loss": 3.9 - step / 40, "eval_loss": 3.8 - step / 900},
        )
        for step in range(steps + 1)
    ]


def run(*, metrics=None, evaluations=(), name=None, **fields):
    told = curve() if metrics is None else metrics
    return Run(record(**fields), name=name, metrics=told, evaluations=evaluations)


def loss(subject, rows="held_out", **fields):
    told = {
        "subject": subject,
        "rows": rows,
        "examples": 4,
        "tokens": 40,
        "per_token": 3.25,
        "per_example": spread(3.125),
        "histogram": {"edges": [1.0, 2.0, 3.0, 4.0], "counts": [1, 2, 1]},
        "file": f"losses-{rows}-{subject}.json",
    }
    return {**told, **fields}


def spread(mean):
    quarters = dict.fromkeys(("low", "quarter", "median", "three_quarters", "high"), mean)
    return {"count": 4, "mean": mean, "std": 0.5, **quarters}


def answers_of(subject="checkpoint", variant="plain", on="prompts", **fields):
    told = {
        "subject": subject,
        "variant": variant,
        "on": on,
        "prompts": 4,
        "answers": 4,
        "stopped": 4,
        "completion_tokens": 40,
        "seconds": 1.5,
        "file": f"answers-{on}-{subject}-{variant}.json",
    }
    return {**told, **fields}


def answers(*outputs, prompts=PROMPTS):
    return [
        {"instruction": prompt, "output": output, "generator": "it", "dataset": "held_out", "row": row}
        for row, (prompt, output) in enumerate(zip(prompts, outputs, strict=False))
    ]


def diversity(subject="checkpoint", variant="plain", *, kept=4, dropped=0):
    repetition = {"two": 0.0625, "three": 0.03125, "four": 0.015625}
    return {
        "subject": subject,
        "variant": variant,
        "answers": 4,
        "empty": 0,
        "characters": spread(396.25),
        "characters_as_listed": 396,
        "words": spread(64.5),
        "tokens": spread(90.75),
        "whole": repetition,
        "chunks": [
            {
                "words": 50,
                "kept": kept,
                "dropped": dropped,
                "repetition": repetition,
                "log_diversity": 2.71,
                "log_diversity_published": 6.82,
            }
        ],
    }


def overlap(subject="checkpoint", f1=0.4375):
    return {
        "subject": subject,
        "answers": 4,
        "rouge_l": {"precision": 0.5, "recall": 0.375, "f1": f1},
        "bleu": {
            "score": 21.75,
            "precisions": [50.0, 25.0, 12.5, 6.25],
            "brevity_penalty": 1.0,
            "answer_words": 90,
            "reference_words": 80,
            "signature": "nrefs:1",
        },
        "identical": 0,
    }


def judged(**fields):
    told = {
        "subject": "checkpoint",
        "variant": "plain",
        "against": "base",
        "model": "judge-1",
        "pairs": 400,
        "judged": 400,
        "wins": 240,
        "losses": 150,
        "ties": 10,
        "win_rate": {"percent": 61.25, "standard_error": 2.4375},
        "length_controlled": {"percent": 58.5, "standard_error": 2.5},
        "position": {"first_percent": 51.5, "standard_error": 1.75, "biased": False, "disagreed": 12},
        "characters": 396.0,
        "characters_other": 307.0,
        "cost": {
            "calls": 800,
            "cached": 0,
            "failed": 0,
            "prompt_tokens": 9000,
            "completion_tokens": 800,
            "price": None,
        },
        "file": "judge_annotations_checkpoint_plain.json",
    }
    return {**told, **fields}


def benchmark(**fields):
    told = {
        "asked": "arc_challenge",
        "task": "arc_challenge",
        "metric": "acc",
        "filter": "none",
        "num_fewshot": 0,
        "documents": 1172,
        "value": 0.4125,
        "standard_error": 0.0144,
        "base": 0.375,
        "base_standard_error": 0.0141,
        "difference": 0.0375,
        "difference_standard_error": 0.0085,
    }
    return {**told, **fields}


def evaluation(files=None, *, kinds=("loss",), spec=None, of=None, **found):
    """Make an evaluation; ``files`` are those beside its results, by name."""
    told = {
        "spec": {"kinds": kinds, **(spec or {})},
        "of": {
            "model": "acme/tiny",
            "checkpoint": "last",
            "step": 30,
            "template": "alpaca",
            "alpha": 5.0,
            "distribution": "uniform",
            **(of or {}),
        },
        **found,
    }
    return Measured(Results.model_validate(told), (files or {}).get)


def whole_evaluation():
    """Make one that has found something of each kind."""
    judge = {"endpoint": "https://judge.example/v1", "model": "judge-1"}
    files = {
        "answers-prompts-checkpoint-plain.json": answers("one " * 9, "2", "three, three", "four!"),
        "answers-prompts-base-plain.json": answers("1", "two two two", "3", "four"),
    }
    return evaluation(
        files,
        kinds=("loss", "overlap", "diversity", "judge", "benchmarks"),
        spec={"judge": judge},
        loss=[loss("base", per_token=3.5), loss("checkpoint")],
        answers=[answers_of("base"), answers_of()],
        overlap=[overlap("base", 0.25), overlap()],
        diversity=[diversity("base"), diversity()],
        judge=[judged()],
        benchmarks=[benchmark()],
    )
