"""What a model's files tell of its embeddings, whatever they are written in."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neftune_core import weights
from neftune_core.errors import ModelError
from neftune_core.weights import embedding_of, tensors


def model(folder: Path, matrix: torch.Tensor, kind: str = "llama") -> Path:
    """A model's folder with nothing but an embedding, and something before it."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    rest = {"a.first": torch.ones(3), "model.embed_tokens.weight": matrix}
    save_file(rest, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_embeddings_are_measured_over_the_tokens_that_come(tmp_path: Path, dtype: torch.dtype) -> None:
    matrix = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    counts = np.zeros(50, dtype=np.int64)
    counts[[3, 7, 49]] = 1, 2, 5
    found = embedding_of(model(tmp_path / "m", matrix), counts)
    assert found is not None
    assert found.channels == 64
    squares = matrix.double().square().mean(dim=1)
    expected = (squares[3] + 2 * squares[7] + 5 * squares[49]) / 8
    assert found.rms == pytest.approx(math.sqrt(expected), rel=1e-6)


def test_of_many_tokens_the_most_frequent_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_MOST_ROWS", 2)
    matrix = torch.tensor([[9.0] * 4, [2.0] * 4, [2.0] * 4])
    found = embedding_of(model(tmp_path / "m", matrix), np.array([1, 5, 5]))
    assert found is not None
    assert found.rms == pytest.approx(2.0)


def test_gemma_gives_its_embeddings_times_the_root_of_their_width(tmp_path: Path) -> None:
    found = embedding_of(model(tmp_path / "m", torch.ones(4, 64), "gemma2"), np.ones(4, dtype=np.int64))
    assert found is not None
    assert found.rms == pytest.approx(8.0)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}",
                                    (2).to_bytes(8, "little") + b"[]"])  # fmt: skip
def test_a_file_that_is_none_of_its_kind_is_refused_in_words(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelError, match=r"model\.safetensors of the model can't be read"):
        tensors(tmp_path)
