"""Runs a model's own chat template, which is a program from strangers, in a sandbox.

The environment is the one the templates are written for (transformers'). Beyond its immutable sandbox, what
could fill memory in one call is taken away, and a rendering may take two seconds of CPU. The sandbox is one
layer: a chat template is rendered in the runner or in a limited child, never in the api.
"""

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from neftune_core.errors import TemplateError

CPU_SECONDS = 2.0
MAX_SOURCE = 512 * 1024
MAX_TEXT = 16 * 1024**2
_MAX_REPEATED = 100_000
_PADDING = frozenset(("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"))
_THE_DAY = "26 Jul 2024"  # what templates fall back to; a run resumed tomorrow must see the same tokens


class _Generation(Extension):
    """``{% generation %}`` marks answers in some templates; here it is only a block."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
        if operator == "%" and isinstance(left, str):
            raise SecurityError("formatting is not available to templates")
        if operator == "**" and not (isinstance(right, int) and abs(right) <= 64):
            raise SecurityError("such powers are not available to templates")
        if operator == "*" and sizes:
            times = right if isinstance(right, int) else left
            if sizes[0] * int(times) > _MAX_REPEATED:
                raise SecurityError("the template repeats too much")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        padding = isinstance(obj, str) and attr in _PADDING
        return not padding and super().is_safe_attribute(obj, attr, value)


class ChatTemplate:
    """A compiled chat template."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError("The model's chat template is too large.")
        self.source = source
        try:
            self._template = _environment().from_string(source)
        except (JinjaError, RecursionError) as error:
            raise TemplateError(f"The model's chat template can't be read: {type(error).__name__}.") from None

    def text(self, variables: Mapping[str, Any]) -> str:
        """Render it."""
        try:
            with _cpu_limit(CPU_SECONDS):
                text = "".join(_limited(self._template.generate(**variables)))
        except JinjaError as error:
            told = str(error).splitlines()[0][:200] if isinstance(error, _Raised) else type(error).__name__
            raise TemplateError(f"The chat template can't render this row: {told}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            raise TemplateError(f"The chat template can't render this row: {type(error).__name__}") from None
        return text


@lru_cache(maxsize=8)
def compiled(source: str) -> ChatTemplate:
    """Give the compiled template; it is kept."""
    return ChatTemplate(source)


class _Raised(JinjaError):
    """The template itself says that it can't render these messages."""


@lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    made = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    for name in ("center", "format", "wordwrap", "indent"):
        del made.filters[name]
    made.filters["tojson"] = _to_json
    made.filters["indent"] = _indent
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = lambda _format: _THE_DAY
    return made


def _raise(message: object) -> NoReturn:
    raise _Raised(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    indent = None if indent is None else max(0, min(int(indent), 8))
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    padding = " " * max(0, min(int(width), 64))
    lines = str(text).split("\n")
    return "\n".join(
        padding + line if (first or number) and (line or blank) else line for number, line in enumerate(lines)
    )


def _limited(pieces: Iterator[str]) -> Iterator[str]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > MAX_TEXT:
            raise TemplateError("The chat template writes more than can be read.")
        yield piece


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Stop Python code that runs on and on. Signals reach only the main thread; elsewhere nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TemplateError("The chat template takes too long.")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
