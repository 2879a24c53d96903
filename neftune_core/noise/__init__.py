"""NEFTune as the paper has it, in every layout.

``layout`` tells where examples lie, ``philox`` and ``drawing`` what noise they get, ``attach`` how it reaches
a model, ``meter`` what really arrived there.
"""

from neftune_core.noise.attach import NoisyEmbeddings, noisy_embeddings
from neftune_core.noise.drawing import Noise, apply, draw
from neftune_core.noise.layout import Layout
from neftune_core.noise.multiplier import later_multiplier

__all__ = ["Layout", "Noise", "NoisyEmbeddings", "apply", "draw", "later_multiplier", "noisy_embeddings"]
