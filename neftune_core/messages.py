"""The lines a runner speaks to its supervisor: one JSON object a line, on a pipe.

The runner writes them with :func:`encode`, the supervisor reads them with :func:`decode`; both sides
share these types, so a line that fits neither side cannot exist. Paths are relative to the runner's
output folder. JSON has no NaN: a non-finite number travels as ``null``.
"""

from typing import Annotated

import msgspec

MAX_LINE_BYTES = 64 * 1024

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Step = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="metric"):
    """The numbers of one optimizer step (step 0: before training)."""

    step: Step
    values: dict[Name, float | None]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="event"):
    """A past-tense fact about the run."""

    name: Name
    data: dict[str, object]


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="checkpoint"):
    """A folder from which the run can be continued at ``step``."""

    step: Step
    path: str


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="artifact"):
    """A finished result: a file or a folder under the output folder."""

    name: Name
    path: str


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """Why the runner gave up; the last line it speaks."""

    code: Name
    detail: str
    retryable: bool = False


Message = Metric | Event | Checkpoint | Artifact | Failed

# What the runner's exit status says beyond its last line (sysexits.h).
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_STOPPED = 75  # EX_TEMPFAIL: asked to stop, stopped between two steps

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """Give the message as one line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Read one line.

    Raises ``msgspec.DecodeError`` (``msgspec.ValidationError`` is one) when it is not a message.
    """
    return _decoder.decode(line)
