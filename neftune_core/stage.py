"""One base in memory, and the adapters that were put on it; who is asked for stands in front.

The base answers through its adapters switched off, which leaves it exactly as it was loaded. Another
base, or weights that replace the base's own, take its place. Knows folders; knows no questions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file

from neftune_core.generation_lines import Answer, Put
from neftune_core.model import Numerics, add_adapter, add_fresh_adapter, is_small, load_base, load_tokenizer
from neftune_core.spec import LoraSpec, QuantizationSpec
from neftune_core.training_state import put_by_name

MOST_ADAPTERS = 16  # kept on one base; the one that was asked for longest ago goes first
_WEIGHTS = "weights.safetensors"  # of a checkpoint


class Stage:
    """Who can answer now."""

    def __init__(self, device: torch.device) -> None:
        self.tokenizer: Any = None
        self._device = device
        self._model: Any = None
        self._key = b""
        self._adapters: dict[str, None] = {}  # in the order in which they were asked for

    @contextmanager
    def before(self, asked: Answer) -> Iterator[Any]:
        """Give the model that is asked, as it is to answer in this block."""
        full = asked.tuned if asked.tuned is not None and asked.tuned.kind == "full" else None
        self._bring(asked, full)
        if asked.tuned is not None and full is None:
            self._put_on(asked.tuned)
            self._model.set_adapter(asked.tuned.key)
            yield self._model.eval()
        elif self._adapters:
            with self._model.disable_adapter():
                yield self._model.eval()
        else:
            yield self._model.eval()

    def clear(self) -> None:
        """Let go of everything."""
        self._model, self._key = None, b""
        self._adapters.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _bring(self, asked: Answer, full: Put | None) -> None:
        """Have the base in memory, perhaps with other weights; what was there before goes first."""
        key = msgspec.json.encode([asked.base, asked.quantization, full and full.key])
        if key == self._key:
            return
        self.clear()
        folder = Path(asked.base)
        self.tokenizer = load_tokenizer(folder)
        model = load_base(folder, self._numerics(asked))
        if full is not None:
            put_by_name(dict(model.named_parameters()), load_file(Path(full.folder) / _WEIGHTS))
        if self._device.type == "cpu" and is_small(model):
            torch.set_num_threads(1)
        self._model, self._key = model, key

    def _numerics(self, asked: Answer) -> Numerics:
        half = self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        spec = QuantizationSpec.model_validate(asked.quantization) if asked.quantization else None
        dtype = torch.bfloat16 if half else torch.float32
        return Numerics(self._device, dtype, autocast=False, quantization=spec)

    def _put_on(self, adapter: Put) -> None:
        """Have an adapter on the base, and not more than so many."""
        known = adapter.key in self._adapters
        if known:
            del self._adapters[adapter.key]
        elif adapter.kind == "adapter":
            self._model = add_adapter(self._model, adapter.key, Path(adapter.folder))
        else:
            self._put_on_weights(adapter)
        self._adapters[adapter.key] = None
        if len(self._adapters) > MOST_ADAPTERS:
            oldest = next(iter(self._adapters))
            del self._adapters[oldest]
            self._model.delete_adapter(oldest)

    def _put_on_weights(self, adapter: Put) -> None:
        """Put on what a checkpoint keeps of an adapter; a run calls its only one ``default``."""
        lora = LoraSpec.model_validate(adapter.lora)
        self._model = add_fresh_adapter(self._model, adapter.key, lora)
        mark = f".{adapter.key}"
        saved = load_file(Path(adapter.folder) / _WEIGHTS)
        weights = {_renamed(name, mark): tensor for name, tensor in saved.items()}
        mine = {name: one for name, one in self._model.named_parameters() if _is_of(name, mark)}
        put_by_name(mine, weights)


def _renamed(name: str, mark: str) -> str:
    return ".".join(mark[1:] if part == "default" else part for part in name.split("."))


def _is_of(name: str, mark: str) -> bool:
    return mark[1:] in name.split(".")
