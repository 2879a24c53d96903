"""A model goes on from a prompt, token by token, in eval mode and without noise.

Who listens hears the text as it comes and may end it after any token. Knows torch and transformers;
knows nothing of where models or questions come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from neftune_core import prompts
from neftune_core.decoding import Decoding, GrowingText
from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise.foreign import refuse_hooks
from neftune_core.prompts_spans import Span
from neftune_core.rows import Message, Row
from neftune_core.tokenise import beginning, encoded, special_ids

Template = prompts.PromptTemplate | Literal["none"]  # none: the text is gone on with as it is
Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Prompt:
    """Token ids to go on from, the tokens that end an answer, and whether white space around it counts."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]
    strip: bool


@dataclass(frozen=True)
class Said:
    """How an answer ended, and how many tokens it took."""

    finish: Finish
    prompt_tokens: int
    completion_tokens: int


def prompt_of(asked: Sequence[Message] | str, template: Template, tokenizer: Any, model: Any) -> Prompt:
    """Render a conversation by the template, or take a text as it is."""
    ends = _known_ends(tokenizer, model)
    if isinstance(asked, str) or template == "none":
        text = asked if isinstance(asked, str) else "".join(turn.content for turn in asked)
        ids = [*beginning(tokenizer), *_ids([Span(text)], tokenizer)]
        return Prompt(tuple(ids), tuple(sorted(ends)), strip=False)
    return prompt_of_row(Row("messages", messages=tuple(asked)), template, tokenizer, model)


def prompt_of_row(row: Row, template: prompts.PromptTemplate, tokenizer: Any, model: Any) -> Prompt:
    """Render what a row asks; the answer at its end is left out."""
    spans = prompts.render_prompt(row, template, tokenizer)
    ends = _known_ends(tokenizer, model)
    ids = [*([] if template == "chat" else beginning(tokenizer)), *_ids(spans, tokenizer)]
    return Prompt(tuple(ids), tuple(sorted(ends | _template_ends(template, tokenizer))), strip=True)


@torch.inference_mode()
def speak(  # noqa: PLR0913, PLR0917 - who speaks, of what, how, and who listens
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    decoding: Decoding,
    hear: Callable[[str], None],
    unwanted: Callable[[], bool] = lambda: False,
) -> Said:
    """Go on from a prompt; ``hear`` gets the text piece by piece, until ``unwanted`` says so."""
    refuse_unless_quiet(model)
    room = decoding.room(len(prompt.ids), positions_of(model))
    ids = torch.tensor([prompt.ids], device=model.device)
    text = GrowingText(decoding.stop, strip=prompt.strip)
    listener = _Listener(tokenizer, prompt, text, hear, unwanted)
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **_choosing(decoding),
        max_new_tokens=room,
        repetition_penalty=decoding.repetition_penalty,
        eos_token_id=list(prompt.ends),
        pad_token_id=tokenizer.pad_token_id or 0,
        use_cache=True,
        stopping_criteria=StoppingCriteriaList([listener]),
    )
    listener.end()
    finish: Finish = "length"
    if text.stopped or (listener.ids and listener.ids[-1] in prompt.ends):
        finish = "stop"
    elif len(listener.ids) < room:
        finish = "cancelled"
    return Said(finish, len(prompt.ids), len(listener.ids))


def positions_of(model: Any) -> int | None:
    """Tell how many positions a model has, where it says so."""
    limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit


def refuse_unless_quiet(model: Any) -> None:
    """Refuse a model with dropout or noise switched on: an answer is the model's own."""
    if any(module.training for module in model.modules()):
        raise NeftuneMisapplied("The model is not in eval mode; its answers would be by chance.")
    embedding = model.get_input_embeddings()
    refuse_hooks(embedding)
    if embedding._forward_hooks:
        raise NeftuneMisapplied("Something hooks the token embedding; its answers would carry noise.")


class _Listener(StoppingCriteria):
    """Hears each token, tells what of the text is sure, and ends the answer when that is wanted."""

    def __init__(
        self,
        tokenizer: Any,
        prompt: Prompt,
        text: GrowingText,
        hear: Callable[[str], None],
        unwanted: Callable[[], bool],
    ) -> None:
        self.text, self.ids = text, list[int]()
        self._tokenizer, self._prompt = tokenizer, len(prompt.ids)
        self._hear, self._unwanted = hear, unwanted

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        """Hear what has been said so far; tell whether that is all."""
        self.ids = input_ids[0, self._prompt :].tolist()
        self._tell(self.text.grow(self._decoded()))
        over = self.text.stopped or self._unwanted()
        return torch.full((len(input_ids),), over, device=input_ids.device, dtype=torch.bool)

    def end(self) -> None:
        """Tell the rest."""
        self._tell(self.text.end(self._decoded()))

    def _tell(self, piece: str) -> None:
        if piece:
            self._hear(piece)

    def _decoded(self) -> str:
        text: str = self._tokenizer.decode(self.ids, skip_special_tokens=True)
        return text


def _choosing(decoding: Decoding) -> dict[str, Any]:
    """Choose tokens greedily, or by chance from the model's own distribution and nothing narrower."""
    if decoding.temperature == 0:
        return {"do_sample": False}
    torch.manual_seed(torch.seed() if decoding.seed is None else decoding.seed)
    return {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}


def _ids(spans: Sequence[Span], tokenizer: Any) -> list[int]:
    [text] = encoded([(0, spans)], tokenizer)
    ids: list[int] = text.ids.tolist()
    return ids


def _known_ends(tokenizer: Any, model: Any) -> set[int]:
    """List what the model knows as an end."""
    known = model.generation_config.eos_token_id
    ends = set(known if isinstance(known, list) else [known]) | {tokenizer.eos_token_id}
    return {end for end in ends if end is not None}


def _template_ends(template: prompts.PromptTemplate, tokenizer: Any) -> set[int]:
    """Find the special tokens that end an answer in the template."""
    said = Row("messages", messages=(Message("user", "A"), Message("assistant", "B")))
    spans = prompts.render(said, prompts.trained_by(template), tokenizer)
    [text] = encoded([(0, spans)], tokenizer)
    return set(text.ids[text.trained].tolist()) & set(special_ids(tokenizer))
