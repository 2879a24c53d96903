"""The base models that jobs may name: ids and patterns the operator allows, folders where they lie.

Users say ids, never paths. A folder is looked at before it is used: code of the model's own and pickled
weights are refused. Knows two layouts: ``<root>/<org>/<name>`` of the operator, and the cache that the
fetcher fills, ``<cache>/<org>--<name>/<commit>``. Never speaks to a hub.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from neftune_core.errors import CustomCode, ModelError, ModelNotAvailable, UnsafeWeights

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OWN_CODE = frozenset(("auto_map", "custom_pipelines"))
_MOST_CONFIG_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model that is at hand."""

    id: str
    path: Path
    commit: str | None = None


class Catalog:
    """Says which models may be used, and where they lie."""

    def __init__(
        self, roots: Sequence[Path], allowed: Sequence[str], hub: bool = False, cache: Path | None = None
    ) -> None:
        self._roots = tuple(map(Path, roots))
        self._allowed = tuple(allowed)
        self._hub = hub
        self._cache = None if cache is None else Path(cache)

    def allowed(self, model_id: str) -> bool:
        """Tell whether the operator allows this id."""
        return _ID.fullmatch(model_id) is not None and any(
            fnmatchcase(model_id, pattern) for pattern in self._allowed
        )

    def find(self, model_id: str, revision: str | None = None) -> Path | None:
        """Give the folder of this model if it is at hand.

        The operator's own folders have no revisions. With a hub, a revision that is not a commit has to be
        asked for there, even when some commit lies in the cache.
        """
        if _ID.fullmatch(model_id) is None:
            return None
        if revision in (None, "main"):
            for root in self._roots:
                if _is_model(root / model_id):
                    return root / model_id
        return self._cached(model_id, revision)

    def check(self, model_id: str, revision: str | None = None) -> None:
        """Raise :class:`ModelNotAvailable` unless a job may name this model."""
        if not self.allowed(model_id):
            raise ModelNotAvailable(
                "The operator does not allow this model; GET /models lists what is at hand."
            )
        if not self._hub and self.find(model_id, revision) is None:
            raise ModelNotAvailable(
                "The model is not at hand here and there is no hub to fetch it from; "
                "the operator can place it in a models folder or turn the hub on."
            )

    def list(self) -> list[ModelCard]:
        """List the allowed models that are at hand, each once, by id."""
        cards: dict[str, ModelCard] = {}
        for card in self._at_hand():
            if self.allowed(card.id):
                cards.setdefault(card.id, card)
        return [cards[name] for name in sorted(cards)]

    def _at_hand(self) -> Iterator[ModelCard]:
        for root in self._roots:
            for config in root.glob("*/*/config.json"):
                yield ModelCard(f"{config.parent.parent.name}/{config.parent.name}", config.parent)
        if self._cache is not None:
            for home in self._cache.glob("*--*"):
                newest = _newest(home)
                if newest is not None:
                    yield ModelCard(home.name.replace("--", "/", 1), newest, newest.name)

    def _cached(self, model_id: str, revision: str | None) -> Path | None:
        if self._cache is None:
            return None
        home = self._cache / model_id.replace("/", "--")
        if revision is not None and _COMMIT.fullmatch(revision):
            return home / revision if _is_model(home / revision) else None
        return None if self._hub or revision not in (None, "main") else _newest(home)


def inspect_model(path: Path) -> None:
    """Raise :class:`CustomCode` or :class:`UnsafeWeights` when the folder holds what is never loaded."""
    if not (path / "config.json").is_file():
        raise ModelError("The model has no config.json.")
    for config in sorted(path.glob("*config*.json")):
        if _names_in(_read(config)) & _OWN_CODE:
            raise CustomCode(
                f"{config.name} asks to run code that came with the model; only known architectures are used."
            )
    if not any(path.glob("*.safetensors")):
        raise UnsafeWeights("The model has no safetensors; only those are loaded, never pickles.")


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _newest(home: Path) -> Path | None:
    commits = [one for one in home.glob("*") if _COMMIT.fullmatch(one.name) and _is_model(one)]
    return max(commits, key=lambda one: one.stat().st_mtime, default=None)


def _read(config: Path) -> object:
    if config.stat().st_size > _MOST_CONFIG_BYTES:
        raise ModelError(f"{config.name} of the model is unreasonably large.")
    try:
        value: object = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        raise ModelError(f"{config.name} of the model is not valid JSON.") from None
    return value


def _names_in(value: object) -> set[str]:
    """Collect the keys of all objects, however deep."""
    names: set[str] = set()
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            names |= one.keys()
            pending += one.values()
        elif isinstance(one, list):
            pending += one
    return names
