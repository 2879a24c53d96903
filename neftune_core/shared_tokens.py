"""Tokens that runs on the same rows share: what each row becomes, by the row, in a file between runs.

The key of a file is all else that decides the tokens: tokenizer, template, options, the code itself. A file
is written whole or not at all, and believed only when its key is the reader's own, its bytes are those that
were written, and its numbers could be tokens; else it is as if there were none, and is made anew. No pickles.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from neftune_core import prompts
from neftune_core.rows_canonical import Row
from neftune_core.spec import TrainingSpec
from neftune_core.tokenise import Fitted

_MOST_BYTES = 64 * 1024**2  # of a file that describes a tokenizer
_CODE = ("conversations", "examples", "prompts*", "rows*", "shared_tokens", "tokenise")
_LIBRARIES = ("jinja2", "tokenizers", "transformers")
_TRAINED, _RESPONSE = 1, 2
_DIGEST = 16
_SHAPES = {
    "rows": np.uint8,  # the digest of each row
    "texts": np.int32,  # how many examples a row became
    "sizes": np.int32,  # tokens of each text, as cut
    "lengths": np.int32,  # and before
    "unended": np.uint8,
    "ids": np.int32,
    "flags": np.uint8,
}

Arrays = Mapping[str, NDArray[Any]]
Entry = tuple[bytes, tuple[Fitted, ...]]  # a row's digest, and what the row becomes


class SharedTokens:
    """What rows became, from a file and of this run."""

    def __init__(self, path: Path, key: str, most_tokens: int, vocabulary: int) -> None:
        self._path, self._key, self._new = path, key, False
        self._known = dict(_read(path, key, most_tokens, vocabulary))

    def get(self, row: Row) -> Sequence[Fitted] | None:
        """Give what a row becomes, if that is known."""
        return self._known.get(_digest(row))

    def add(self, row: Row, texts: Sequence[Fitted]) -> None:
        """Remember what a row became."""
        self._known[_digest(row)] = tuple(texts)
        self._new = True

    def write(self) -> None:
        """Write all of it down, if there is something new. Nobody depends on it: a full disk is no fault."""
        if not self._new:
            return
        passing = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            arrays = _arrays(self._known)
            passing.write_bytes(save(dict(arrays), {"key": self._key, "sha256": _sum(arrays)}))
            passing.replace(self._path)
        except OSError:
            return
        finally:
            with suppress(OSError):
                passing.unlink()
        self._new = False


def key_of(training: TrainingSpec, template: prompts.Template, model_dir: Path) -> str:
    """Name all that decides what a row becomes, but for the row."""
    options = training.model_dump(mode="json", include={"max_length", "train_on", "split_conversations"})
    here = Path(__file__).parent
    code = sorted(path for name in _CODE for path in here.glob(f"{name}.py"))
    told = {
        "options": options,
        "template": template,
        "tokenizer": {path.name: _sha256(path) for path in _described_by(model_dir)},
        "code": {path.name: _sha256(path) for path in code},
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _described_by(model_dir: Path) -> list[Path]:
    """List the files of a model that are no weights."""
    return sorted(
        path
        for path in model_dir.iterdir()
        if path.is_file() and path.suffix != ".safetensors" and path.stat().st_size <= _MOST_BYTES
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(row: Row) -> bytes:
    return hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


def _arrays(known: Mapping[bytes, Sequence[Fitted]]) -> Arrays:
    texts = [text for several in known.values() for text in several]
    flags = [text.trained * _TRAINED + text.response * _RESPONSE for text in texts]
    plain: dict[str, Any] = {
        "rows": np.frombuffer(b"".join(known), dtype=np.uint8),
        "texts": [len(several) for several in known.values()],
        "sizes": [len(text.ids) for text in texts],
        "lengths": [text.length for text in texts],
        "unended": [text.unended for text in texts],
        "ids": np.concatenate([text.ids for text in texts]) if texts else [],
        "flags": np.concatenate(flags) if flags else [],
    }
    return {name: np.ascontiguousarray(plain[name], dtype=kind) for name, kind in _SHAPES.items()}


def _sum(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in _SHAPES:
        digest.update(f"{name} {len(arrays[name])} ".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _read(
    path: Path, key: str, most_tokens: int, vocabulary: int
) -> Iterator[tuple[bytes, tuple[Fitted, ...]]]:
    """Give what a file holds; nothing where it is not to be believed."""
    try:
        with safe_open(path, framework="numpy") as source:
            said = source.metadata() or {}
            if said.get("key") != key or set(source.keys()) != set(_SHAPES):
                return
            arrays = {name: source.get_tensor(name) for name in _SHAPES}
    except (OSError, SafetensorError):
        return
    if said.get("sha256") == _sum(arrays) and _could_be(arrays, most_tokens, vocabulary):
        yield from _texts(arrays)


def _could_be(arrays: Arrays, most_tokens: int, vocabulary: int) -> bool:
    """Tell whether these could be tokens: the sum says only that they are as somebody wrote them."""
    if any(one.ndim != 1 or one.dtype != _SHAPES[name] for name, one in arrays.items()):
        return False
    rows, texts, sizes, ids, flags = (arrays[name] for name in ("rows", "texts", "sizes", "ids", "flags"))
    if not (
        (texts >= 0).all()
        and (sizes >= 0).all()
        and len(rows) == len(texts) * _DIGEST
        and int(texts.sum(dtype=np.int64)) == len(sizes) == len(arrays["lengths"]) == len(arrays["unended"])
        and int(sizes.sum(dtype=np.int64)) == len(ids) == len(flags)
    ):
        return False
    first = flags[(np.cumsum(sizes, dtype=np.int64) - sizes)[sizes > 0]]
    return bool(
        (sizes == np.minimum(arrays["lengths"], most_tokens)).all()
        and ((ids >= 0) & (ids < vocabulary)).all()
        and (flags <= (_TRAINED | _RESPONSE)).all()
        and not (first & _TRAINED).any()  # nothing comes before it to tell it from
    )


def _texts(arrays: Arrays) -> Iterator[Entry]:
    rows, ids, flags = arrays["rows"].tobytes(), arrays["ids"], arrays["flags"]
    ends = np.cumsum(arrays["sizes"], dtype=np.int64)
    told = zip(ends.tolist(), arrays["sizes"].tolist(), arrays["lengths"].tolist(), strict=True)
    texts = (
        Fitted(
            ids[end - size : end],
            (flags[end - size : end] & _TRAINED).astype(bool),
            (flags[end - size : end] & _RESPONSE).astype(bool),
            length,
            bool(unended),
        )
        for (end, size, length), unended in zip(told, arrays["unended"].tolist(), strict=True)
    )
    for number, count in enumerate(arrays["texts"].tolist()):
        yield rows[number * _DIGEST : (number + 1) * _DIGEST], tuple(next(texts) for _ in range(count))
