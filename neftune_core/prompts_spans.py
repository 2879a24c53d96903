"""What every template speaks: pieces of text with marks, and what it may ask and be asked.

A :class:`Span` whose ``special`` is false came from the dataset: its text is data even where it looks like
``<|im_start|>``, and is encoded without special tokens, so that no row can forge a role.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text of one example.

    ``trained``: its tokens are learnt. ``response``: the assistant says it, whether it is learnt or not.
    """

    text: str
    trained: bool = False
    special: bool = False
    response: bool = False


class TokenizerLike(Protocol):
    """What a template needs to know of a tokenizer; transformers' tokenizers are such."""

    chat_template: str | None
    eos_token: str | None
    bos_token: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a renderer is asked for: is text outside answers trained on; is a next turn to be opened."""

    everything: bool = False
    opened: bool = False
