"""Attention for packed rows: one row holds several examples, and none of them sees another.

Registered with transformers as an attention of its own. Where each example ends reaches every layer in
place of the attention mask; so recomputed activations see it too, and models need not know of it. Each
example is attended to apart: on a GPU in half precision by one kernel for all, else one after another.
Batches that are not packed get the library's own scaled-dot-product attention.

Whether a model may be packed is measured, not looked up: state-space layers, position biases and
attention code of a model's own would leak from one example into the next without a word.

Axes: T places of the row, t of one example, S examples, H heads, D channels of a head.
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "neftune_packed"
_PROBED = (13, 9, 5)  # tokens of the examples a model is tried with
_sdpa: Any = AttentionInterface()["sdpa"]  # type: ignore[no-untyped-call]  # transformers'
_own_mask: Any = AttentionMaskInterface()["sdpa"]  # type: ignore[no-untyped-call]  # transformers'
_lengths: ContextVar[tuple[int, ...] | None] = ContextVar("lengths of the packed row", default=None)


class CannotPack(Exception):
    """The model asks for something that packed rows can't give it."""


@dataclass(frozen=True)
class Segments:
    """What a layer gets in place of a mask: the examples of the row, and how far back each token sees."""

    lengths: tuple[int, ...]
    bound_S: Tensor  # int32, one more than there are examples: 0, then each one's end
    window: int | None


@contextmanager
def packed_row(lengths: Sequence[int]) -> Iterator[None]:
    """Let forward passes in this block take their one row for examples of these lengths."""
    token = _lengths.set(tuple(lengths))
    try:
        yield
    finally:
        _lengths.reset(token)


def _mask(**asked: Any) -> Any:
    """Give a forward pass its mask: the examples of a packed row, or what the library would give."""
    lengths = _lengths.get()
    if lengths is None:
        return _own_mask(**asked)
    if asked["batch_size"] != 1 or asked["q_length"] != sum(lengths):
        raise CannotPack("the row it attends to is not the one it was given")
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=asked["device"])
    return Segments(lengths, bounds, asked.get("local_size"))


def _attend(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Any,
    **asked: Any,
) -> tuple[Tensor, None]:
    """Attend within each example; the answer is ``[1, T, H, D]``."""
    if not isinstance(attention_mask, Segments):
        if _lengths.get() is not None:
            raise CannotPack("it makes attention masks of its own")
        attended: tuple[Tensor, None] = _sdpa(
            module, query_1HTD, key_1HTD, value_1HTD, attention_mask, **asked
        )
        return attended
    segments = attention_mask
    if segments.window is not None and segments.window != asked.get("sliding_window"):
        raise CannotPack("it attends locally in a way that is not a sliding window")
    wholes = _as_cast(query_1HTD, key_1HTD, value_1HTD)
    if _one_kernel_does(wholes[0], wholes[2], asked):
        return _attend_at_once(*wholes, segments, asked.get("scaling")), None
    parts = (torch.split(whole, list(segments.lengths), dim=2) for whole in wholes)
    attended_1tHD = [
        _sdpa(module, *part, _window_mask(part[0], segments.window), **asked)[0]
        for part in zip(*parts, strict=True)
    ]
    return torch.cat(attended_1tHD, dim=1), None


def _as_cast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cast as autocast would before the library's attention; rotation leaves queries and keys in fp32."""
    kind = query.device.type
    if not torch.is_autocast_enabled(kind):
        return query, key, value
    dtype = torch.get_autocast_dtype(kind)
    return query.to(dtype), key.to(dtype), value.to(dtype)


def _window_mask(query_1HtD: Tensor, window: int | None) -> Tensor | None:
    """Give the mask of one example that is longer than the window; shorter ones need none."""
    length = query_1HtD.shape[2]
    if window is None or length <= window:
        return None
    ones_tt = torch.ones(length, length, dtype=torch.bool, device=query_1HtD.device)
    return ones_tt.tril().triu(1 - window)[None, None]


def _one_kernel_does(query: Tensor, value: Tensor, asked: dict[str, Any]) -> bool:
    width = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in {torch.bfloat16, torch.float16}
        and width == value.shape[-1]
        and width <= 256
        and width % 8 == 0
        and not asked.get("dropout")
        and asked.get("softcap") is None
        and asked.get("position_bias") is None
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _attend_at_once(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, scaling: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - CUDA builds only

    query_THD, key_THD, value_THD = (whole[0].transpose(0, 1) for whole in (query, key, value))
    longest = max(segments.lengths)
    attended = varlen_attn(
        query_THD,
        key_THD,
        value_THD,
        segments.bound_S,
        segments.bound_S,
        longest,
        longest,
        scale=scaling,
        # How many places each token sees before its own.
        window_size=(-1 if segments.window is None else segments.window - 1, 0),
        enable_gqa=query_THD.shape[1] != key_THD.shape[1],
    )
    assert isinstance(attended, Tensor)  # noqa: S101 - no second result was asked for
    return attended[None]


def use_packed_attention(model: Any, device: torch.device, *, autocast: bool = False) -> str | None:
    """Switch a model in eval mode to this attention, if packing leaves its numbers alone.

    Tries short examples alone with the model's own attention and together in one row; with ``autocast`` also
    as it will train in bf16, where another kernel may serve. Gives ``None``, or why the model can't be
    packed; then it is left as it was.
    """
    own = model.config._attn_implementation
    if own != "sdpa":
        return f"its attention is {own!r}, not 'sdpa'"
    generator = torch.Generator().manual_seed(0)
    size = model.get_input_embeddings().weight.shape[0]
    examples = [torch.randint(size, (length,), generator=generator) for length in (*_PROBED, _PROBED[0])]
    *examples, other = (example.to(device) for example in examples)
    casts = (False, True) if autocast else (False,)
    try:
        alone = [_told(model, [[ids] for ids in examples], cast) for cast in casts]
        model.set_attn_implementation(NAME)
        together = [_told(model, [examples], cast) for cast in casts]
        with_other = [_told(model, [[other, *examples[1:]]], cast) for cast in casts]
        fault = next(filter(None, map(_difference, alone, together, with_other)), None)
    except Exception as error:  # a model's own code may fail in any way on a packed row
        fault = f"it can't compute a packed row ({error})"
    if fault is not None:
        model.set_attn_implementation(own)
    return fault


def is_switched_on(model: Any) -> bool:
    """Tell whether the model attends within the examples of a packed row."""
    return bool(model.config._attn_implementation == NAME)


def _difference(alone_TV: Tensor, together_TV: Tensor, with_other_TV: Tensor) -> str | None:
    """Tell how a packed row differs from its examples alone, if it does."""
    half = alone_TV.dtype != torch.float32
    alone_TV, together_TV, with_other_TV = (told.float() for told in (alone_TV, together_TV, with_other_TV))
    scale = alone_TV.abs().max().clamp(min=1e-6)
    first = _PROBED[0]
    seen = (together_TV[first:] - with_other_TV[first:]).abs().max() / scale
    off = (together_TV - alone_TV).abs().max() / scale
    # In half precision the two ways round differently; that no example sees another is still exact.
    if not seen <= 1e-6:
        return f"an example in a row sees another (its logits move by {float(seen):.1e})"
    if not off <= (5e-2 if half else 1e-5):
        return f"an example in a row has other logits than alone (by {float(off):.1e})"
    return None


@torch.no_grad()
def _told(model: Any, rows: Sequence[Sequence[Tensor]], cast: bool) -> Tensor:
    """Give the logits of each row's examples, one row after another."""
    with torch.autocast(rows[0][0].device.type, torch.bfloat16, enabled=cast):
        return torch.cat([_logits(model, examples) for examples in rows])


def _logits(model: Any, examples: Sequence[Tensor]) -> Tensor:
    """Give the logits of examples in one row."""
    lengths = [len(ids) for ids in examples]
    place_T = torch.cat([torch.arange(length, device=examples[0].device) for length in lengths])
    with packed_row(lengths):
        answer = model(input_ids=torch.cat(list(examples))[None], position_ids=place_T[None], use_cache=False)
    logits_TV: Tensor = answer.logits[0]
    return logits_TV


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
