"""What is said about answers on pipes and sockets, one JSON object a line; both ends share these types.

The api asks the generation process with :class:`Order`; that process asks its child, which holds the model,
with :class:`Answer` and :class:`Stop`; the child's lines go back as they came, with the place of their
question in front. Knows shapes; a line that is none of them can't exist.
"""

from typing import Annotated, Any, Literal

import msgspec

MAX_LINE_BYTES = 4 * 1024 * 1024
MOST_QUESTIONS = 8  # of one order

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Choosing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are chosen, and when an answer is long enough."""

    max_new_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = 256
    repetition_penalty: float = 1.2
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class TunedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of what a job has made, and where its bytes are."""

    name: Name
    sha256: Sha256
    bytes: int
    blob_key: str


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job has made: an adapter, a whole model, or what one of its checkpoints keeps.

    Of a checkpoint that is the weights alone: of an adapter (``lora``, which says how it sits on the base),
    or all (``full``).
    """

    kind: Literal["adapter", "model", "lora", "full"]
    files: tuple[TunedFile, ...]
    lora: dict[str, Any] | None = None


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one model is asked."""

    model: str
    asked: tuple[Turn, ...] | str
    template: str
    choosing: Choosing
    revision: str | None = None
    quantization: dict[str, Any] | None = None
    tuned: Tuned | None = None
    owner: str | None = None  # the project whose own token has fetched the base; None: everybody's


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks in one call: each model in turn."""

    questions: Annotated[tuple[Question, ...], msgspec.Meta(min_length=1, max_length=MOST_QUESTIONS)]
    asker: str = ""  # the id of the key; nobody's orders may fill the desk


class Put(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tuned files as they lie before the child; ``key`` names their bytes and can name an adapter."""

    kind: Literal["adapter", "lora", "full"]
    key: str
    folder: str
    lora: dict[str, Any] | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="answer"):
    """To the child: answer this."""

    id: int
    base: str
    asked: tuple[Turn, ...] | str
    template: str
    choosing: Choosing
    quantization: dict[str, Any] | None = None
    tuned: Put | None = None


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stop"):
    """To the child: nobody listens to this answer any more."""

    id: int


class Began(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="began"):
    """The model is there and the prompt fits."""

    id: int
    template: str
    prompt_tokens: int


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """Some of the answer."""

    id: int
    text: str


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    """The answer has ended."""

    id: int
    finish: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    completion_tokens: int


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """There is no answer, or no more of it."""

    id: int
    code: str
    detail: str


class Wait(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="wait"):
    """Nothing yet, but somebody is at it."""

    id: int = 0


ToChild = Answer | Stop
Reply = Began | Piece | Done | Failed | Wait


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To the api: what was said to one question of an order."""

    index: int
    reply: Reply


_ENCODER = msgspec.json.Encoder()
_REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_SAID: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)
_TO_CHILD: msgspec.json.Decoder[ToChild] = msgspec.json.Decoder(ToChild)
_ORDERS: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def encode(line: msgspec.Struct) -> bytes:
    """Write a line."""
    return _ENCODER.encode(line) + b"\n"


def reply(line: bytes) -> Reply:
    """Read what the child has said."""
    return _REPLIES.decode(line)


def said(line: bytes) -> Said:
    """Read what was said to a question of an order."""
    return _SAID.decode(line)


def to_child(line: bytes) -> ToChild:
    """Read what the child is told."""
    return _TO_CHILD.decode(line)


def order(body: bytes) -> Order:
    """Read what a client asks."""
    return _ORDERS.decode(body)
