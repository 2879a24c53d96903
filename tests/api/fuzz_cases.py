"""Cases from a seed: every route the app has, with method, path, query, headers and body spoilt or not.

Routes, parameters and bodies are read from the app, so that a new route is fuzzed the day it is there.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.api.fuzz_bodies import sample, spoiled, written
from tests.api.fuzz_wire import Case
from tests.api.fuzz_words import BLOBS, METHODS, VALUES, WORDS


@dataclass(frozen=True)
class Target:
    """A route, as it can be asked."""

    method: str
    path: str
    operation: Mapping[str, Any]


def targets(app: FastAPI) -> list[Target]:
    """Every route of the app under each of its methods, also those that the document leaves out."""
    paths = app.openapi()["paths"]
    return [
        Target(method, found.path, paths.get(_plain(found.path), {}).get(method.lower(), {}))
        for found in iter_route_contexts(app.routes)
        for method in sorted(found.methods or ())
        if found.path
    ]


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


class Cases:
    """Cases by number: the same number of the same seed is the same case, for the same routes."""

    def __init__(self, app: FastAPI, seed: str) -> None:
        self._seed = seed
        self._targets = targets(app)
        self._document = app.openapi()

    def number(self, number: int) -> Case:
        """Make one; every route in its turn."""
        dice = random.Random(f"{self._seed}:{number}")
        target = self._targets[number % len(self._targets)]
        odd = {what for what in ("method", "path", "query", "headers", "body") if dice.random() < _ODDS[what]}
        kind, body = self._body(target, dice, spoil="body" in odd)
        headers = dict(_sound_headers(kind, body, target, dice))
        return Case(
            dice.choice(METHODS) if "method" in odd else target.method,
            _path(target, dice, spoil="path" in odd),
            self._query(target, dice, spoil="query" in odd),
            tuple(_spoiled_headers(headers, dice) if "headers" in odd else headers.items()),
            _pieces(body, dice),
            cut=bool(body) and dice.random() < 0.02,
        )

    def _body(self, target: Target, dice: random.Random, *, spoil: bool) -> tuple[bytes, bytes]:
        offered = target.operation.get("requestBody", {}).get("content", {})
        if not offered or dice.random() < 0.03:
            return dice.choice(
                ((b"", b""), (b"", b""), (b"application/json", b"{}"), (b"text/plain", b"zqmark"))
            )
        kind = dice.choice(sorted(offered))
        if kind == "application/json":
            found = _with_ids(_example(offered[kind], self._document, dice), dice)
            return b"application/json", spoiled(found, dice) if spoil else written(found)
        if kind == "multipart/form-data":
            return _form(offered[kind]["schema"], dice, spoil=spoil)
        return kind.encode(), _rows(dice, spoil=spoil)

    def _query(self, target: Target, dice: random.Random, *, spoil: bool) -> bytes:
        given: list[bytes] = []
        for one in target.operation.get("parameters", ()):
            if one["in"] != "query" or (dice.random() < 0.6 and not one.get("required")):
                continue
            name = one["name"].encode()
            value = (
                dice.choice(WORDS)
                if spoil and dice.random() < 0.6
                else _sound_value(one, self._document, dice)
            )
            given.append(name + b"=" + value)
            if spoil and dice.random() < 0.1:
                given.append(name + b"=" + dice.choice(WORDS))
        if spoil and dice.random() < 0.2:
            given.append(
                dice.choice(
                    (b"zqmark=1", b"&&&", b"=", b"%zz=%zz", b"metadata[zqmark]=1", b"\xff=\xfe", b"a" * 9000)
                )
            )
        return b"&".join(given)


_ODDS = {"method": 0.04, "path": 0.15, "query": 0.35, "headers": 0.3, "body": 0.6}


def _example(content: Mapping[str, Any], document: Mapping[str, Any], dice: random.Random) -> Any:
    if content.get("examples") and dice.random() < 0.5:
        return dice.choice([one["value"] for one in content["examples"].values()])
    return sample(content["schema"], document, dice)


# Fields that hold an id of something: without a sound one, nothing behind the first look is ever reached.
_IDS = {
    "model": ("org/base", "org/base", "org/base", "@own:/v1/models@", "org/none"),
    "dataset": ("@own:/datasets@", "@own:/datasets@", "@own:/datasets@", "@their:/datasets@", "ds_none"),
    "training_file": ("@own:/v1/files@", "@own:/v1/files@", "@their:/v1/files@", "file-none"),
    "validation_file": ("@own:/v1/files@", None),
    "init_from": (None, None, None, "@own:/jobs@", "@their:/jobs@"),
    "part_ids": (["@own:/v1/uploads/*/parts@"], ["part_none"]),
}


def _with_ids(body: Any, dice: random.Random) -> Any:
    if isinstance(body, dict):
        return {
            key: dice.choice(_IDS[key]) if key in _IDS and not isinstance(one, dict) else _with_ids(one, dice)
            for key, one in body.items()
        }
    return body


def _path(target: Target, dice: random.Random, *, spoil: bool) -> bytes:
    made, listed = [], ""
    for part in target.path.split("/")[1:]:
        if part.startswith("{"):
            words = (f"@own:{listed}@".encode(),) * 9 + (f"@their:{listed}@".encode(), *WORDS[:4])
            made.append(dice.choice(WORDS if spoil and dice.random() < 0.7 else words))
            listed += "/*"
        else:
            made.append(part.encode())
            listed += f"/{part}"
    path = b"/" + b"/".join(made)
    if spoil and dice.random() < 0.2:
        at = dice.randrange(len(path) + 1)
        path = (
            path[:at]
            + dice.choice((b"/", b"//", b"/../", b"%2f", b"%00", b";x", b"/zqmark", b"%0a"))
            + path[at:]
        )
    return path


def _sound_value(parameter: Mapping[str, Any], document: Mapping[str, Any], dice: random.Random) -> bytes:
    name = parameter["name"]
    if name == "jobs":
        return b"@own:/jobs@"
    if name in _IDS:
        return str(dice.choice(_IDS[name])).encode()
    value = sample(parameter["schema"], document, dice)
    return quote(str(value).lower() if isinstance(value, bool) else str(value or "")).encode()


def _sound_headers(
    kind: bytes, body: bytes, target: Target, dice: random.Random
) -> Iterator[tuple[bytes, bytes]]:
    yield b"host", b"localhost"
    if dice.random() > 0.04:
        yield b"authorization", b"Bearer @key@"
    if kind:
        yield b"content-type", kind
    if body and dice.random() < 0.5:
        yield b"content-length", str(len(body)).encode()
    elif body:
        yield b"transfer-encoding", b"chunked"


def _spoiled_headers(headers: Mapping[bytes, bytes], dice: random.Random) -> list[tuple[bytes, bytes]]:
    made = list(headers.items())
    for _ in range(dice.choice((1, 1, 2, 3))):
        name = dice.choice(sorted(VALUES))
        one = (name, dice.choice(VALUES[name]))
        if dice.random() < 0.7:
            made = [kept for kept in made if kept[0] != name]
        made.insert(dice.randrange(len(made) + 1), one)
    if dice.random() < 0.02:
        made += [(b"x-%d" % number, b"zqmark") for number in range(dice.choice((500, 8000)))]
    return made


def _rows(dice: random.Random, *, spoil: bool) -> bytes:
    rows: list[Any] = [
        {"instruction": f"Say {number}.", "input": "", "output": f"It is {number}."} for number in range(12)
    ]
    if dice.random() < 0.3:
        rows = [
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
        ] * 11
    if not spoil:
        return b"\n".join(map(written, rows))
    at = dice.randrange(len(rows))
    lines = [written(row) for row in rows]
    lines[at] = spoiled(rows[at], dice)
    whole = dice.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r", b",")).join(lines)
    return dice.choice((whole, whole, whole, spoiled(rows, dice), b"[" + whole, dice.choice(BLOBS)))


def _form(schema: Mapping[str, Any], dice: random.Random, *, spoil: bool) -> tuple[bytes, bytes]:
    mark = b"zqbound"
    parts = []
    for name, about in schema.get("properties", {}).items():
        value = (
            _rows(dice, spoil=spoil)
            if about.get("format") == "binary"
            else about.get("enum", ["zqmark"])[0].encode()
        )
        filename = b'; filename="zqmark.jsonl"' if about.get("format") == "binary" else b""
        parts.append(
            b'Content-Disposition: form-data; name="' + name.encode() + b'"' + filename + b"\r\n\r\n" + value
        )
    if spoil:
        _spoil_parts(parts, dice)
    text = b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"
    if spoil and dice.random() < 0.3:
        text = text[: dice.randrange(len(text))]
    return b"multipart/form-data; boundary=" + mark, text


def _spoil_parts(parts: list[bytes], dice: random.Random) -> None:
    at = dice.randrange(len(parts))
    match dice.randrange(8):
        case 0:
            parts.append(parts[at])
        case 1:
            parts.insert(0, b"zqmark")
        case 2:
            parts[at] = parts[at].replace(b'name="', b'name="zqmark\xff')
        case 3:
            parts[at] = b"X: " + b"zqmark" * 2000 + b"\r\n" + parts[at]
        case 4:
            parts += [b'Content-Disposition: form-data; name="zqmark"\r\n\r\nx'] * dice.choice((3, 40))
        case 5:
            parts[at] = parts[at].replace(b"\r\n", b"\n")
        case 6:
            parts.reverse()


def _pieces(body: bytes, dice: random.Random) -> tuple[bytes, ...]:
    if not body or dice.random() < 0.7:
        return (body,) if body else ()
    at = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(1, 5)))
    return tuple(body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True))
