"""Bodies to fuzz with: sound ones made from the OpenAPI document, and what spoils them.

A JSON text is kept as nested values with :class:`Raw` fragments, so that what no serialiser writes (NaN,
half a surrogate pair, the same key twice) can stand anywhere in it.
"""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

MARK = b"zqmark"  # planted in values: no refusal may hold it
MARKED_KEY = "zq<mark>"  # planted in keys; one that reads like a name may be told as a place

Document = Mapping[str, Any]


class Raw(bytes):
    """A fragment that is written as it is."""


_DEEP = Raw(b"[" * 40 + b"]" * 40)
ODD: tuple[Any, ...] = (
    Raw(b"NaN"), Raw(b"Infinity"), Raw(b"-Infinity"), Raw(b"1e999"), Raw(b"-1e999"), Raw(b"1e308"),
    Raw(b"1e-320"), Raw(b"-0.0"), Raw(b"9" * 5000), Raw(b"0." + b"1" * 5000), Raw(b"007"), Raw(b"+1"),
    Raw(b'"\\ud800"'), Raw(b'"\\udc00x"'), Raw(b'"\\udc00\\ud800"'), Raw(b'"\\u0000"'), Raw(b'"\x00"'),
    Raw(b'"\xff\xfe"'), Raw(b'"\xed\xa0\x80"'), Raw(b'{"zq<mark>": 1, "zq<mark>": 2}'), _DEEP,
    Raw(b"[" * 5000 + b"]" * 5000), Raw(b'{"a":' * 3000), Raw(b"'zqmark'"), Raw(b"/* zqmark */ 1"),
    Raw(b'"zqmark'), Raw(b'"\\x"'), Raw(b'"line\nbreak"'), Raw(b"undefined"), Raw(b""),
    True, False, None, [], {}, [None], [[]], {"zq<mark>": "zqmark"}, "", " ", "zqmark", "zqmark" * 50,
    "zqmark" * 2000, "5", "true", "null", "auto", 0, -1, 1, 1.5, 2**31, 2**53 + 1, 2**63, -(2**63) - 1,
    2**64,
    10**100, 1e-300, "zqmark\u202e", "\u0000zqmark", "zq\x1b[31mmark", "zqmark\r\nX-Injected: 1", "é" * 300,
    "\U0001f600", "../../etc/zqmark", "/etc/zqmark", "file:///zqmark", "http://169.254.169.254/zqmark",
    "zqmark'; DROP TABLE jobs;--", "%_zqmark%", "{{7*7}}zqmark", "{% for x in range(9) %}", "-zqmark",
    "<script>zqmark</script>", "hf_zqmarkzqmarkzqmarkzqmarkzqmarkzq", "__proto__", [1] * 200,
    ["zqmark"] * 20,
    {f"k{number}": "zqmark" for number in range(40)},
)  # fmt: skip


def written(value: Any) -> bytes:
    """Write a value, fragments as they are."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, dict):
        return (
            b"{"
            + b",".join(json.dumps(key).encode() + b":" + written(one) for key, one in value.items())
            + b"}"
        )
    if isinstance(value, list):
        return b"[" + b",".join(map(written, value)) + b"]"
    return json.dumps(value).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key under which something stands."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    for key, one in inside:
        yield value, key
        yield from places(one)


def spoiled(body: Any, dice: random.Random) -> bytes:
    """Break a sound JSON body in one place, or its text, or both."""
    body = json.loads(json.dumps(body))
    for _ in range(dice.choice((0, 1, 1, 1, 2))):
        body = _with_one_odd(body, dice)
    return _text_spoiled(written(body), dice)


def _with_one_odd(body: Any, dice: random.Random) -> Any:
    found = list(places(body)) if not isinstance(body, Raw) else []
    odd = dice.choice(ODD)
    if not found or dice.random() < 0.06:
        return odd
    container, key = dice.choice(found)
    match dice.randrange(8):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, dict):
            container[dice.choice((MARKED_KEY, "alpah", "__proto__", "id", "project_id", "fence", ""))] = odd
        case 2 if isinstance(container, dict):
            container[key] = Raw(
                written(container[key]) + b"," + json.dumps(key).encode() + b":" + written(odd)
            )
        case _:
            container[key] = odd
    return body


def _text_spoiled(text: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(text) + 1)
    junk = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 9)))
    wide = dice.choice(("utf-16", "utf-16-le", "utf-32", "utf-7"))
    after = dice.choice((b"{}", b"\x00", b",", b"zqmark", b"\n\n[]", b" " * 1000, b" " * 70_000))
    ways = (
        text[:at],
        b"\xef\xbb\xbf" + text,
        text.decode("latin-1").encode(wide),
        text[:at] + junk + text[at:],
        text + after,
        b"a=zqmark&b=2",
        b"",
    )
    return dice.choice(ways) if dice.random() < 0.25 else text


def sample(schema: Any, document: Document, dice: random.Random, depth: int = 0) -> Any:
    """Make a value of a schema of the document: small, and sound as far as the schema tells."""
    schema = _resolved(schema, document)
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            return sample(dice.choice(schema[kind]), document, dice, depth)
    for kind in ("enum", "examples"):
        if schema.get(kind):
            return dice.choice(schema[kind])
    if "const" in schema:
        return schema["const"]
    if "default" in schema and dice.random() < 0.5:
        return schema["default"]
    return _of_type(schema, document, dice, depth)


def _of_type(schema: Any, document: Document, dice: random.Random, depth: int) -> Any:  # noqa: PLR0911 - one per type
    match schema.get("type"):
        case "object":
            return {
                name: sample(one, document, dice, depth + 1)
                for name, one in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or (depth < 5 and dice.random() < 0.15)
            }
        case "array":
            least = schema.get("minItems", 0)
            return [sample(schema.get("items", {}), document, dice, depth + 1) for _ in range(max(least, 1))]
        case "string":
            return "zqmark"[: schema.get("maxLength", 20)].ljust(schema.get("minLength", 0), "x")
        case "integer":
            return dice.randint(schema.get("minimum", 0), min(schema.get("maximum", 20), 2**31))
        case "number":
            return round(dice.uniform(schema.get("minimum", 0), schema.get("maximum", 10)), 3)
        case "boolean":
            return dice.random() < 0.5
    return None


def _resolved(schema: Any, document: Document) -> Any:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema
