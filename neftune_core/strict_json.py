"""JSON from strangers: either a value that is safe to keep, or the one reason why not.

The standard parser is lenient where we can't be: it takes NaN, keeps the last of duplicate keys, lets lone
surrogates and NUL through (both break later, in UTF-8 and in Postgres), and answers deep nesting or huge
numbers with errors of its own. Knows nothing of what the value is for; never repeats what was sent.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_NUMBER_CHARS = 128

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
# From one bracket to the next, strings skipped whole; possessive, so that hostile text costs linear time.
_TO_BRACKET = re.compile(r'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_KEY_TO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


_OF_NUMBERS = {"non_finite_number", "number_too_long"}
_MARK = object()


class JsonFault(Exception):
    """Why some bytes are not JSON that we take: a stable code, a message, and where: byte or path."""

    def __init__(
        self, code: str, msg: str, offset: int | None = None, path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.offset = offset
        self.path = path


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> object:
    """Parse one JSON value; raise :class:`JsonFault`, and nothing else, when it is not acceptable."""
    text = _text(data)
    _refuse_depth(text, max_depth)
    try:
        value: object = _DECODER.decode(text)
    except JsonFault as fault:
        if fault.code in _OF_NUMBERS:
            raise JsonFault(fault.code, fault.msg, path=_path_to_refused_number(text)) from None
        raise
    except json.JSONDecodeError as error:
        raise JsonFault("json_invalid", f"Not valid JSON: {error.msg}.", _bytes(text, error.pos)) from None
    except RecursionError:
        raise JsonFault("too_deep", f"Nested deeper than {max_depth} levels.") from None
    except ValueError:
        raise JsonFault("number_too_long", "A number has too many digits.") from None
    if "\\u0000" in text or "\\ud" in text or "\\uD" in text:
        _refuse_escapes(text)
    return value


def _path_to_refused_number(text: str) -> tuple[str | int, ...]:
    """Parse again with a mark in the place of such numbers; keys that could be anything are not told."""
    try:
        value = _MARKING_DECODER.decode(text)
    except (ValueError, RecursionError):  # worse follows after the number
        return ()
    path = _path_to_mark(value)
    told = path is not None and all(isinstance(part, int) or _KEY_TO_NAME.fullmatch(part) for part in path)
    return path if path is not None and told else ()


def _path_to_mark(value: object) -> tuple[str | int, ...] | None:
    if value is _MARK:
        return ()
    inside: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, one in inside:
        if (rest := _path_to_mark(one)) is not None:
            return (key, *rest)
    return None


def _marked(read: Callable[[str], object]) -> Callable[[str], object]:
    def read_or_mark(chars: str) -> object:
        try:
            return read(chars)
        except JsonFault:
            return _MARK

    return read_or_mark


def _text(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise JsonFault("json_invalid", "Begins with a byte order mark; send plain UTF-8.", 0)
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise JsonFault("dataset_encoding", f"Not valid UTF-8 at byte {error.start}.", error.start) from None
    nul = text.find("\0")
    if nul >= 0:
        raise JsonFault("forbidden_character", "Holds a NUL character.", _bytes(text, nul))
    return text


def _refuse_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = position = 0
    while found := _TO_BRACKET.match(text, position):
        position = found.end()
        depth += 1 if found[1] in "[{" else -1
        if depth > max_depth:
            raise JsonFault("too_deep", f"Nested deeper than {max_depth} levels.", _bytes(text, position - 1))


def _refuse_escapes(text: str) -> None:
    """Find ``\\u0000`` and halves of surrogate pairs; in valid JSON every backslash opens an escape."""
    high: re.Match[str] | None = None
    for found in _ESCAPE.finditer(text):
        code = int(found[1], 16) if found[1] else -1
        if code == 0:
            raise JsonFault("forbidden_character", "Holds a NUL character.", _bytes(text, found.start()))
        is_low = 0xDC00 <= code <= 0xDFFF
        follows = high is not None and high.end() == found.start()
        if is_low and follows:
            high = None
            continue
        if high is not None or is_low:
            raise _lone(text, high or found)
        high = found if 0xD800 <= code <= 0xDBFF else None
    if high is not None:
        raise _lone(text, high)


def _lone(text: str, found: re.Match[str]) -> JsonFault:
    return JsonFault("lone_surrogate", "Holds half of a surrogate pair.", _bytes(text, found.start()))


def _bytes(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "surrogatepass"))


def _number(chars: str) -> float:
    if len(chars) > MAX_NUMBER_CHARS:
        raise JsonFault("number_too_long", f"A number has more than {MAX_NUMBER_CHARS} digits.")
    value = float(chars)
    if not math.isfinite(value):
        raise JsonFault("non_finite_number", "A number is too large to be held.")
    return value


def _whole(chars: str) -> int:
    if len(chars) > MAX_NUMBER_CHARS:
        raise JsonFault("number_too_long", f"A number has more than {MAX_NUMBER_CHARS} digits.")
    return int(chars)


def _constant(_name: str) -> NoReturn:
    raise JsonFault("non_finite_number", "NaN and Infinity are not JSON numbers.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    twice = _first_repeated(key for key, _ in pairs)
    named = f" ({twice})" if _KEY_TO_NAME.fullmatch(twice) else ""
    raise JsonFault("duplicate_key", f"An object has the same key twice{named}.")


def _first_repeated(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("called for keys of which one is there twice")


_DECODER = json.JSONDecoder(
    parse_float=_number, parse_int=_whole, parse_constant=_constant, object_pairs_hook=_object
)
_MARKING_DECODER = json.JSONDecoder(
    parse_float=_marked(_number), parse_int=_marked(_whole), parse_constant=_marked(_constant)
)
