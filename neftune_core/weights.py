"""What a model's folder tells of its weights without loading them: sizes, and how large its embeddings are.

Reads the headers of safetensors, and of the token embedding the rows it is asked for. Loads no torch.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neftune_core.errors import ModelError
from neftune_core.estimates import Shape

_MOST_HEADER = 100 * 1024**2  # the format's own limit
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.[0-9]+\.")
_READABLE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MOST_ROWS = 20_000  # of the embedding
# What the embedding module returns is the row itself; in Gemma it is the row times the root of the width.
_PLAIN = frozenset(
    (
        *(
            "llama",
            "mistral",
            "mixtral",
            "qwen2",
            "qwen3",
            "qwen2_moe",
            "qwen3_moe",
            "gpt2",
            "gpt_neox",
            "opt",
        ),
        *("phi", "phi3", "olmo", "olmo2", "falcon", "stablelm", "starcoder2", "smollm3", "bloom", "mpt"),
    )
)
_ROOT_OF_WIDTH = frozenset(("gemma", "gemma2", "gemma3_text"))


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Count its numbers."""
        return math.prod(self.shape)


def tensors(model_dir: Path) -> dict[str, Tensor]:
    """List the tensors of a model, each once."""
    return {name: tensor for file in _files(model_dir) for name, tensor in _header(file)}


def text_config(model_dir: Path) -> Mapping[str, Any]:
    """Give the configuration of the language model in a model's folder."""
    try:
        config = json.loads((model_dir / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ModelError("config.json of the model can't be read.") from None
    inner = config.get("text_config") if isinstance(config, dict) else None
    found = inner if isinstance(inner, dict) else config
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Embedding:
    """The token embedding: its channels, and the root mean square over the tokens that were counted."""

    channels: int
    rms: float | None
    unknown_because: str | None = None


def embedding_of(model_dir: Path, counts: NDArray[np.int64]) -> Embedding | None:
    """Measure the embedding where each token comes as often as counted; ``None`` where none is found."""
    found = tensors(model_dir)
    name = next((name for name in sorted(found) if name.endswith(_EMBEDDINGS)), None)
    tensor = found.get(name) if name else None
    if tensor is None or len(tensor.shape) != 2:
        return None
    rows, channels = tensor.shape
    kind = text_config(model_dir).get("model_type")
    if kind not in _PLAIN | _ROOT_OF_WIDTH:
        return Embedding(channels, None, "what this architecture does with its embeddings is not known here")
    if tensor.dtype not in _READABLE or counts[rows:].any() or not counts.any():
        return Embedding(channels, None, "the model's embeddings can't be read for these tokens")
    factor = math.sqrt(channels) if kind in _ROOT_OF_WIDTH else 1.0
    return Embedding(channels, factor * math.sqrt(_mean_square(tensor, counts[:rows])))


def shape_of(model_dir: Path) -> Shape | None:
    """Tell what of a model decides memory; ``None`` where it is none that is known here."""
    found = tensors(model_dir)
    config = text_config(model_dir)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    name = next((name for name in sorted(found) if name.endswith(_EMBEDDINGS)), None)
    if name is None or len(found[name].shape) != 2 or not isinstance(layers, int):
        return None
    inner = [one for path, one in found.items() if _LAYER.search(path) and len(one.shape) >= 2]
    return Shape(
        parameters=sum(one.size for one in found.values()),
        in_layers=sum(one.size for one in inner),
        sides=sum(sum(one.shape) for one in inner if len(one.shape) == 2),
        layers=layers,
        channels=found[name].shape[1],
        vocabulary=found[name].shape[0],
    )


def _mean_square(tensor: Tensor, counts: NDArray[np.int64]) -> float:
    """Average over the tokens that come most; read row by row, for a matrix may be larger than memory."""
    used = np.argsort(counts, kind="stable")[::-1][: min(_MOST_ROWS, int((counts > 0).sum()))]
    kind, channels = np.dtype(_READABLE[tensor.dtype]), tensor.shape[1]
    width = kind.itemsize * channels
    total = 0.0
    with tensor.file.open("rb") as file:
        for number in sorted(map(int, used)):
            file.seek(tensor.offset + number * width)
            row = np.frombuffer(file.read(width), kind, channels)
            if tensor.dtype == "BF16":
                row = (row.astype(np.uint32) << 16).view(np.float32)
            total += int(counts[number]) * float(np.square(row.astype(np.float64)).mean())
    return total / int(counts[used].sum())


def _files(model_dir: Path) -> list[Path]:
    """List the files that make the model: an index names them; others may hold the same again."""
    index = model_dir / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelError(f"{index.name} of the model can't be read.") from None
        return sorted(model_dir / str(name) for name in names if Path(str(name)).name == name)
    one = model_dir / "model.safetensors"
    return [one] if one.is_file() else sorted(model_dir.glob("*.safetensors"))


def _header(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= _MOST_HEADER:
                raise ValueError
            header = json.loads(opened.read(length))
        for name, told in header.items():
            if name != "__metadata__":
                shape = tuple(map(int, told["shape"]))
                yield name, Tensor(file, str(told["dtype"]), shape, 8 + length + int(told["data_offsets"][0]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{file.name} of the model can't be read.") from None
