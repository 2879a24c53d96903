"""Runs a model's own chat template, which is a program from strangers, in a sandbox.

The environment is the one the templates are written for (transformers'). Beyond its immutable sandbox, what
could fill memory in one call is taken away, and a rendering may take two seconds of CPU and 256 MB of memory.
The sandbox is one layer: a chat template is rendered in the runner or in a limited child, never in the api.
What never comes back from native code (``==`` on lists that hold one another) only the process's own limits
end.
"""

import gc
import json
import resource
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jinja2 import Environment, nodes, pass_environment
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import make_attrgetter
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from neftune_core.errors import TemplateError

CPU_SECONDS = 2.0
MEMORY_BYTES = 256 * 1024**2
MAX_SOURCE = 512 * 1024
MAX_TEXT = 16 * 1024**2
_MAX_REPEATED = 100_000
_PADDING = frozenset(("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"))
_STATM = Path("/proc/self/statm")
_FAULTS = (
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(RecursionError, MemoryError),
)
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
            with _limits():  # what is constant is worked out here already
                self._template = _environment().from_string(source)
        except (JinjaError, RecursionError, MemoryError) as error:
            raise TemplateError(f"The model's chat template can't be read: {type(error).__name__}.") from None

    def text(self, variables: Mapping[str, Any]) -> str:
        """Render it."""
        try:
            with _limits():
                text = "".join(_limited(self._template.generate(**variables)))
        except JinjaError as error:
            told = str(error).splitlines()[0][:200] if isinstance(error, _Raised) else type(error).__name__
            raise TemplateError(f"The chat template can't render this row: {told}") from None
        except _FAULTS as error:
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
    made.filters["sum"] = _sum
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
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return "".join(_limited(encoder.iterencode(value)))  # piece by piece, which unlike dumps can be stopped


@pass_environment
def _sum(environment: Environment, values: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    """Add up as Jinja does, but one by one, so that it can be stopped."""
    for value in values if attribute is None else map(make_attrgetter(environment, attribute), values):
        start = start + value  # not in place: a list that is given must not grow
    return start


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
def _limits() -> Iterator[None]:
    """Stop what runs on and on or takes all memory. Elsewhere than in the main thread nothing is done.

    Memory is bounded for the whole process meanwhile, above what it has already. Garbage of others stays
    where it is: a signal that comes while it is taken out would be lost in somebody's destructor.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TemplateError("The chat template takes too long.")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_with_room(soft), hard))
    before = signal.signal(signal.SIGVTALRM, stop)
    collects = gc.isenabled()
    gc.disable()
    signal.setitimer(
        signal.ITIMER_VIRTUAL, CPU_SECONDS, CPU_SECONDS / 10
    )  # again, should one be lost all the same
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if collects:
            gc.enable()
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _with_room(limit: int) -> int:
    """Lower a limit to what this process has, and some more; where that is not told, leave it."""
    try:
        pages = int(_STATM.read_bytes().split()[0])
    except OSError:
        return limit
    wanted = pages * resource.getpagesize() + MEMORY_BYTES
    return wanted if limit == resource.RLIM_INFINITY else min(limit, wanted)
