"""What really reaches a model's first layer: measured there, by none of the code under test."""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import math

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from neftune_core.noise import Layout
from tests.core.tiny import CONFIG

SMALL = {**CONFIG, "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32}
GPT = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
OPT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "ffn_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "word_embed_proj_dim": 32,
    "dropout": 0.0,
}
FALCON = {
    **SMALL,
    "embedding_multiplier": 5.66,
    "mamba_d_ssm": 32,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
    "head_dim": 8,
}
MODELS = {
    "llama": ("llama", SMALL),
    "tied": ("llama", {**SMALL, "tie_word_embeddings": True}),
    "granite": ("granite", {**SMALL, "embedding_multiplier": 12.0}),
    "gemma": ("gemma", {**SMALL, "head_dim": 8}),
    "opt": ("opt", OPT),
    "falcon_h1": ("falcon_h1", FALCON),
}


def make_model(name: str, **changes: object) -> nn.Module:
    """Make a tiny random model in training mode."""
    kind, config = MODELS.get(name, (name, SMALL))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**config, **changes})).train()


def batch(*lengths: int, left: bool = False, keys: list[int] | None = None):
    """Make random token ids in padded rows: ids, mask and layout."""
    width = max(lengths)
    mask_BT = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask_BT[row, width - length if left else 0 : width if left else length] = 1
    ids_BT = torch.randint(5, 64, mask_BT.shape, generator=torch.Generator().manual_seed(1)) * mask_BT
    key_B = torch.tensor(keys or range(100, 100 + len(lengths)))
    return ids_BT, mask_BT, Layout.padded(mask_BT, key_B)


class FirstLayer:
    """Listens at the input of the first layer of a model, however it is wrapped."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
        self.heard: list[torch.Tensor] = []
        lists[0][0].register_forward_pre_hook(self._hear, with_kwargs=True)

    def _hear(self, _module, args, kwargs) -> None:
        given = args[0] if args else kwargs["hidden_states"]
        self.heard.append(given.detach().float().clone())

    def noise(self, run_clean, run_noisy) -> torch.Tensor:
        """Give what a noisy pass has at the first layer beyond a clean one (dropout must be off)."""
        self.heard.clear()
        self._model.eval()
        with torch.no_grad():
            run_clean()
        self._model.train()
        [clean] = self.heard
        run_noisy()
        # Recomputation adds more behind; the model's multiplier was measured on a few tokens before.
        return next(heard for heard in self.heard[1:] if heard.shape == clean.shape) - clean


def alphas_of(noise_BTD: torch.Tensor, layout: Layout) -> list[float]:
    """Give sqrt(3) times the norm of each example's noise."""
    return [
        math.sqrt(3) * float(noise_BTD[layout.segment_BT == segment].double().norm())
        for segment in range(len(layout.length_S))
    ]


def on_pads(noise_BTD: torch.Tensor, layout: Layout) -> float:
    """Give the largest value of noise on a pad."""
    return float((noise_BTD * (layout.segment_BT < 0)[..., None]).abs().max())
