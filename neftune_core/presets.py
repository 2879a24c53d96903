"""The settings of the paper's experiments, by name: what a preset fills in and where a job departs from it.

The numbers are those of the published training code and its instructions. What a job's sender gives always
wins. Knows fields by name only; :mod:`neftune_core.spec` validates what comes out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_TRAINING: Mapping[str, Any] = {
    "epochs": 3.0,
    "learning_rate": 5e-5,
    "scheduler": "cosine",
    "warmup_ratio": 0.03,
    "batch_size": 128,  # 4 on each of 4 GPUs, accumulated 8 times
    "micro_batch_size": 4,
    "max_length": 512,
    "packing": "off",
    "loss_reduction": "micro_batch",
    "drop_last": True,
    "template": "alpaca",
    "train_on": "response",
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "seed": 42,
}
_ALL_ROWS_TRAIN = {"split": 0.0}  # 52,002 rows: 52,002 * 3 // 128 = 1,218 steps

# alpha is in none: the paper searched 5, 10 and 15 for each model and dataset.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper-alpaca": {"method": "full", "validation": _ALL_ROWS_TRAIN, "training": _TRAINING},
    "paper-qlora": {
        "method": "qlora",
        "validation": _ALL_ROWS_TRAIN,
        # For models of about 30 billion parameters: the batch doubled, the learning rate halved.
        "training": {**_TRAINING, "batch_size": 256, "learning_rate": 2.5e-5},
    },
}


def filled(given: dict[str, Any]) -> dict[str, Any]:
    """Give the spec with what its preset knows in the fields that were left out.

    What is no preset, or no object where one belongs, is left for validation to tell.
    """
    name = given.get("preset")
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        return given
    return _under(given, _fitted(preset, given.get("training")))


def _fitted(preset: Mapping[str, Any], training: object) -> Mapping[str, Any]:
    """Take from the preset what contradicts the sender's own fields."""
    if not isinstance(training, dict):
        return preset
    known = dict(preset["training"])
    if training.get("max_steps") is not None:
        del known["epochs"]
    batch = training.get("batch_size")
    if type(batch) is int and 0 < batch < known["micro_batch_size"]:
        known["micro_batch_size"] = batch
    return {**preset, "training": known}


def _under(given: dict[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**preset, **given}
    for name, values in preset.items():
        if isinstance(values, Mapping) and isinstance(own := given.get(name), dict):
            whole[name] = {**values, **own}
    return whole


def departures(name: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """Tell each field of a filled spec in which it is not what its preset says."""
    for field, value in PRESETS[name].items():
        parts = value.items() if isinstance(value, Mapping) else [(None, value)]
        for part, expected in parts:
            found = spec[field] if part is None else spec[field][part]
            if part == "epochs" and found is None:  # max_steps stands in its place
                yield f"{field}.max_steps"
            elif found != expected:
                yield field if part is None else f"{field}.{part}"
