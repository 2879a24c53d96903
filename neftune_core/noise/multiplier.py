"""Models that multiply the token embedding by a known number after the embedding module has returned it.

The noise is defined at the module's output, so the number is divided out: alpha means the same in every
model. Knows configurations.
"""

_MULTIPLIED_LATER = ("granite", "granitemoe", "granitemoeshared", "granitemoehybrid", "falcon_h1")


def later_multiplier(config: object) -> float:
    """Tell by what number the model multiplies its token embedding after the embedding module."""
    if getattr(config, "model_type", None) in _MULTIPLIED_LATER:
        return float(getattr(config, "embedding_multiplier", 1.0))
    return 1.0
