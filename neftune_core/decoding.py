"""How an answer is decoded, and what of its text may be told while it grows.

Pure: knows neither torch nor tokenizers.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from neftune_core.errors import PromptTooLong

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # the first bytes of a character whose others are still to come


@dataclass(frozen=True)
class Decoding:
    """How an answer is decoded; at temperature 0 greedily. Without a penalty, weak models repeat themselves.

    ``max_total_tokens`` limits prompt and answer together; ``stop`` are texts before which an answer ends.
    """

    max_new_tokens: int | None = 128
    repetition_penalty: float = 1.0
    max_total_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def room(self, prompt: int, positions: int | None) -> int:
        """Give how many new tokens may follow a prompt of so many on a model of so many positions."""
        total = min(limit for limit in (self.max_total_tokens, positions, sys.maxsize) if limit is not None)
        if prompt >= total:
            raise PromptTooLong(f"The prompt has {prompt} tokens, and it has to be shorter than {total}.")
        return min(total - prompt, total if self.max_new_tokens is None else self.max_new_tokens)


# As in the paper's evaluation. Sampling was off there, so its temperature and top_p did nothing.
PAPER = Decoding(max_new_tokens=None, repetition_penalty=1.2, max_total_tokens=2048)


class GrowingText:
    """What may be told of a text that grows token by token, so that nothing told is taken back.

    Held back are half characters, what may be the beginning of a stop, and with ``strip`` white space at
    both ends. All that was told, joined, is the answer.
    """

    def __init__(self, stop: Sequence[str] = (), *, strip: bool = True) -> None:
        self.stopped = False  # one of the stops has come
        self._stop = tuple(stop)
        self._strip = strip
        self._told = ""

    def grow(self, text: str) -> str:
        """Take the whole text so far; give what of it is new and sure."""
        return self._tell(self._sure(self._cut(text)))

    def end(self, text: str) -> str:
        """Take the whole text at its end; give the rest."""
        whole = self._cut(text)
        return self._tell(whole.rstrip() if self._strip else whole)

    def _tell(self, text: str) -> str:
        text = text.lstrip() if self._strip else text
        if not text.startswith(
            self._told
        ):  # a tokenizer that rewrites what it has said: nothing is taken back
            return ""
        new = text[len(self._told) :]
        self._told = text
        return new

    def _cut(self, text: str) -> str:
        places = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        self.stopped = self.stopped or bool(places)
        return text[: min(places)] if places else text

    def _sure(self, text: str) -> str:
        text = text.rstrip(_UNFINISHED)
        if not self.stopped:
            text = text[: len(text) - max((_begun(text, stop) for stop in self._stop), default=0)]
        return text.rstrip() if self._strip else text


def _begun(text: str, stop: str) -> int:
    """Tell how many characters at the end of a text are the beginning of a stop."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
