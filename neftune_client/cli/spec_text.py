"""A job's spec from a file and from `--set`: read, joined, and not judged; that is the service's to do.

YAML is read by the rules of YAML 1.2, as people mean it: ``packing: off`` is the word off, ``2e-4`` is a
number, a date is text. The common reader of YAML 1.1 would make false and a string of them.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neftune_client.errors import BadInput

MOST_BYTES = 64 * 1024  # as the service takes


def read(path: Path) -> dict[str, Any]:
    """Read a spec: YAML by its suffix, else JSON."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}."
        ) from error
    if len(raw) > MOST_BYTES:
        raise BadInput(f"{path} is larger than a spec may be (64 KiB). Is it the dataset?")
    spec = _yaml(path, text) if path.suffix in {".yaml", ".yml"} else _json(path, text)
    if not isinstance(spec, dict):
        raise BadInput(f"{path} must hold one object: the fields of a job.")
    return spec


def assign(spec: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Set fields by their path, as in ``training.epochs=1``; the spec that was given stays as it is."""
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names):
            raise BadInput(f"--set takes field=value, such as training.epochs=1, not {assignment!r}.")
        spec = _assigned(spec, names, _value(value.strip()), path)
    return spec


def _assigned(spec: dict[str, Any], names: list[str], value: Any, path: str) -> dict[str, Any]:
    first, *more = names
    if not more:
        return {**spec, first: value}
    inner = spec.get(first) or {}
    if not isinstance(inner, dict):
        raise BadInput(f"--set {path}: {first} is no object.")
    return {**spec, first: _assigned(inner, more, value, path)}


def _value(text: str) -> Any:
    """Read JSON where it is JSON (numbers, true, null, lists), else text as it stands."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON: {error}.") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - only for who writes YAML
    except ImportError:
        raise BadInput(f"{path}: YAML needs PyYAML (pip install pyyaml); JSON needs nothing.") from None

    def mapping(loader: Any, node: Any, deep: bool = False) -> Any:
        _once([(str(key.value), None) for key, _ in node.value])
        return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)

    reader = type("Reader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}, "construct_mapping": mapping})
    for tag, pattern, first in _RULES:
        reader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))  # type: ignore[attr-defined]  # it is a loader of yaml's
    try:
        return yaml.load(text, Loader=reader)  # noqa: S506 - a SafeLoader, as above
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no YAML: {error}.") from error


_DIGITS = "-+0123456789"
_RULES = (
    ("bool", "true|false", "tf"),
    ("null", "null|~|", ("n", "~", "")),
    ("int", "[-+]?(?:0|[1-9][0-9]*)", _DIGITS),
    (
        "float",
        r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9]+(?:[eE][-+]?[0-9]+)?",
        _DIGITS + ".",
    ),
)
