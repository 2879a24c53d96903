"""What a trainer's batch tells about the lengths of its examples, and what it leaves open.

Each source becomes marks: one number per place, the same along an example, another for its neighbour,
negative where nothing real lies. Knows the names that transformers' and TRL's collators use.

Axes: B rows of a batch, T its width, S examples, R runs of one mark, N places.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

from collections.abc import Mapping

import torch
from torch import Tensor

from neftune_core.errors import NeftuneMisapplied
from neftune_core.keys import ExampleKeys

_BOUNDS = {"cu_seq_lens_q", "cu_seq_lens_k"}


def token_ids(batch: Mapping[str, object]) -> Tensor:
    """Give the batch's token ids, on the host."""
    ids_BT = batch.get("input_ids")
    if not isinstance(ids_BT, Tensor) or ids_BT.ndim != 2:
        raise NeftuneMisapplied(
            "The batch has no input_ids of shape (rows, width), so its examples can be neither measured nor "
            "named. For inputs_embeds call neftune_core.noise.apply with a layout and keys of your own."
        )
    return ids_BT.detach().cpu()


def attention_mask(batch: Mapping[str, object], ids_BT: Tensor) -> Tensor | None:
    """Give the mask of real tokens, if the batch has one."""
    mask_BT = batch.get("attention_mask")
    if mask_BT is None:
        return None
    if not isinstance(mask_BT, Tensor) or mask_BT.shape != ids_BT.shape:
        raise NeftuneMisapplied("attention_mask must mark real tokens, in the shape of input_ids.")
    mask_BT = mask_BT.detach().cpu()
    if not bool(((mask_BT == 0) | (mask_BT == 1)).all()):
        raise NeftuneMisapplied("attention_mask must hold 0 and 1; number packed examples in seq_idx.")
    return mask_BT.to(torch.int64)


def packed_marks(batch: Mapping[str, object], ids_BT: Tensor) -> Tensor:
    """Give the marks of a batch without a mask; all its sources must tell the same examples."""
    marks = _marks(batch, ids_BT)
    if not marks:
        raise NeftuneMisapplied(
            "The batch tells no lengths: it has neither attention_mask nor seq_idx, cu_seq_lens_q or "
            "position_ids. Let the collator return one of them, or set alpha to 0."
        )
    (name, mark_BT), *others = marks.items()
    segment_BT = runs(mark_BT)[0]
    for other, other_BT in others:
        if not torch.equal(segment_BT, runs(other_BT)[0]):
            raise NeftuneMisapplied(f"{name} and {other} disagree on where examples begin.")
    return mark_BT


def check_agreement(batch: Mapping[str, object], ids_BT: Tensor, mask_BT: Tensor) -> None:
    """Refuse a batch whose mask tells one example in a row where another source tells several."""
    first_B1 = mask_BT.argmax(1, keepdim=True)
    for name, mark_BT in _marks(batch, ids_BT, masked=True).items():
        if bool(((mark_BT != mark_BT.gather(1, first_B1)) & (mask_BT == 1)).any()):
            raise NeftuneMisapplied(
                f"attention_mask tells one example in a row where {name} tells several. For packed rows "
                "leave attention_mask out, for with it the examples see each other; for padded ones the rest."
            )


def _marks(batch: Mapping[str, object], ids_BT: Tensor, *, masked: bool = False) -> dict[str, Tensor]:
    """Give the marks of each source but the mask; beside a mask, positions need not begin at 0."""
    found = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    marks = {}
    for name in found.keys() & _BOUNDS:
        if len(ids_BT) != 1:
            raise NeftuneMisapplied(f"{name} bounds one flattened row, but the batch has {len(ids_BT)}.")
        marks[name] = marks_of_bounds(found[name], ids_BT.shape[1])
    if "seq_idx" in found:
        marks["seq_idx"] = _of_shape(found["seq_idx"], ids_BT, "seq_idx")
    if "position_ids" in found and found["position_ids"].ndim <= 2:  # with a third axis: of an image's places
        position_ids_BT = _of_shape(found["position_ids"], ids_BT, "position_ids")
        marks["position_ids"] = marks_of_positions(position_ids_BT, anywhere=masked)
    return marks


def _of_shape(value: Tensor, ids_BT: Tensor, name: str) -> Tensor:
    if value.shape[-1:] != ids_BT.shape[-1:]:
        raise NeftuneMisapplied(f"{name} has shape {tuple(value.shape)}, input_ids {tuple(ids_BT.shape)}.")
    return value.detach().to("cpu", torch.int64).expand_as(ids_BT)


def marks_of_bounds(bound_S1: Tensor, width: int) -> Tensor:
    """Turn the cumulative lengths of one row into marks of shape ``(1, width)``."""
    bound_S1 = bound_S1.detach().to("cpu", torch.int64)
    length_S = bound_S1.diff()
    covers = len(bound_S1) > 1 and int(bound_S1[0]) == 0 and int(bound_S1[-1]) == width
    if not covers or bool((length_S < 1).any()):
        raise NeftuneMisapplied(
            f"cu_seq_lens must rise from 0 to the row's width of {width} tokens, one bound per example; "
            f"it is {bound_S1.tolist()[:8]}."
        )
    return torch.repeat_interleave(torch.arange(len(length_S)), length_S)[None]


def marks_of_positions(position_ids_BT: Tensor, *, anywhere: bool = False) -> Tensor:
    """Turn positions into marks: an example ends where the next position is not one more.

    Each example must begin at 0, unless ``anywhere``: with another start the row is the part of a longer one.
    """
    position_ids_BT = position_ids_BT.detach().to("cpu", torch.int64)
    start_BT = torch.ones_like(position_ids_BT, dtype=torch.bool)
    start_BT[:, 1:] = position_ids_BT.diff(dim=1) != 1
    if not anywhere and bool((position_ids_BT[start_BT] != 0).any()):
        raise NeftuneMisapplied(
            "position_ids must begin at 0 with each example and rise by one, or its length is not known. "
            "For padded rows pass attention_mask."
        )
    return start_BT.flatten().cumsum(0).view_as(position_ids_BT)


def runs(mark_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give segments, positions and lengths of the runs of one mark within a row.

    Runs of a negative mark are pads, and so are runs of one token: collators mark each pad so.
    """
    mark_BT = mark_BT.detach().to("cpu", torch.int64)
    start_BT = torch.ones_like(mark_BT, dtype=torch.bool)
    start_BT[:, 1:] = mark_BT.diff(dim=1) != 0
    first_R = start_BT.flatten().nonzero().squeeze(1)
    run_N = start_BT.flatten().cumsum(0) - 1
    length_R = run_N.bincount(minlength=len(first_R))
    real_R = (length_R > 1) & (mark_BT.flatten()[first_R] >= 0)
    real_N = real_R[run_N]
    segment_N = torch.where(real_N, (real_R.cumsum(0) - 1)[run_N], -1)
    position_N = torch.where(real_N, torch.arange(len(run_N)) - first_R[run_N], 0)
    return segment_N.view_as(mark_BT), position_N.view_as(mark_BT), length_R[real_R]


def example_keys(
    batch: Mapping[str, object], ids_BT: Tensor, segment_BT: Tensor, keys: ExampleKeys
) -> Tensor:
    """Name the batch's examples: by its own ``example_key``, else by their tokens."""
    segment_N = segment_BT.flatten()
    place_N = (segment_N >= 0).nonzero().squeeze(1)
    length_S = segment_N[place_N].bincount()
    given = batch.get("example_key")
    if isinstance(given, Tensor):
        key_BT = given.detach().to("cpu", torch.int64)
        key_BT = key_BT[:, None] if key_BT.shape == segment_BT.shape[:1] else key_BT
        if key_BT.ndim != 2 or len(key_BT) != len(segment_BT):
            raise NeftuneMisapplied("example_key must hold one number per row, or one per token.")
        first_S = length_S.cumsum(0) - length_S
        return key_BT.expand_as(segment_BT).flatten()[place_N][first_S]
    ids_N = ids_BT.flatten()[place_N].numpy()
    ends = length_S.cumsum(0).tolist()
    return torch.tensor(
        [keys.key(ids_N[end - length : end]) for end, length in zip(ends, length_S.tolist(), strict=True)],
        dtype=torch.int64,
    )
