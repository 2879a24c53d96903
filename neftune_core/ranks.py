"""One job over several processes: who takes which examples, and what is added up between them.

Every process walks the same plan, takes its share of each step's examples, and adds its gradients to the
others' once a step; so all hold the same weights throughout, and the step is the one a single process
takes. Only rank 0 reports and writes. Knows ``torch.distributed``; knows nothing of models, noise or files.

``DistributedDataParallel`` is not used. It averages where a sum over the step's tokens is wanted, sends at
each backward pass unless told otherwise, and waits for ever when processes make different numbers of
them, as they do here: shares differ in rows, and a rank may have none. One exchange after the last
micro-batch needs none of that, and leaves the model without a wrapper. What is given up is the overlap of
the exchange with the backward pass, little for an adapter's few gradients.

Axes: N values.
"""

# ruff: noqa: N803 - a tensor's name ends with its axes

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from neftune_core.errors import CoreError, RankLost, RanksDiffer, SpecError
from neftune_core.launched import Place
from neftune_core.ports import StopSignal
from neftune_core.tokenise import Example

TIMEOUT = timedelta(minutes=10)  # between two exchanges: a slow share, or a checkpoint that rank 0 writes
_ELEMENTS_AT_ONCE = 1 << 25  # of gradients in one exchange: 128 MiB in fp32
_SAMPLED = 4_096  # values of a frozen parameter
_REASON = "why a rank ended"


@dataclass(frozen=True)
class Ranks:
    """The processes of one job, seen from one of them.

    Each method that exchanges something must be called by all ranks in the same order; when one of them
    is gone it raises :class:`RankLost`. Alone, nothing is exchanged.
    """

    rank: int
    world: int
    reason: Callable[[], str] = field(default=str, compare=False)  # what a rank said before it ended

    @property
    def leads(self) -> bool:
        """Tell whether this rank reports and writes."""
        return self.rank == 0

    def share(self, examples: Sequence[Example], together: int | None = None) -> list[Example]:
        """Take this rank's examples of a step, in their order; maybe none.

        The longest are dealt first, each to the rank with the fewest tokens so far. With ``together`` so
        many neighbours stay neighbours, and are dealt in turn.
        """
        if self.world == 1:
            return list(examples)
        if together is not None:
            return [each for at, each in enumerate(examples) if at // together % self.world == self.rank]
        tokens = [0] * self.world
        mine = []
        for index in sorted(range(len(examples)), key=lambda index: -len(examples[index].ids)):
            taker = tokens.index(min(tokens))
            tokens[taker] += len(examples[index].ids)
            if taker == self.rank:
                mine.append(index)
        return [examples[index] for index in sorted(mine)]

    def sum(self, *values: float) -> list[float]:
        """Add up numbers over all ranks in float64."""
        if self.world == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        with self._exchanging():
            distributed.all_reduce(summed)
        told: list[float] = summed.tolist()
        return told

    def any(self, here: bool) -> bool:
        """Tell whether it is so on any rank."""
        return self.sum(float(here))[0] > 0

    def gather(self, values_N: Tensor) -> Tensor:
        """Put the values of all ranks, which are on the host, one after another, rank 0's first.

        They have one type everywhere, and need not be equally many.
        """
        if self.world == 1:
            return values_N
        counts = [int(count) for count in self.sum(*self._slot(float(len(values_N))))]
        padded = values_N.new_zeros(max(counts))
        padded[: len(values_N)] = values_N
        gathered = [torch.empty_like(padded) for _ in counts]
        with self._exchanging():
            distributed.all_gather(gathered, padded)
        return torch.cat([values[:count] for values, count in zip(gathered, counts, strict=True)])

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients over all ranks; call it once a step, after the last micro-batch.

        A parameter without a gradient counts as zero where others have one; without one anywhere it keeps
        none, so that the optimizer passes it by as it does in a single process.
        """
        if self.world == 1:
            return
        every = list(parameters)
        # On the host, and first: here a rank that failed is missed, where a device would wait for it.
        somewhere = self.sum(*(float(parameter.grad is not None) for parameter in every))
        for bucket in _buckets(parameter for parameter, ranks in zip(every, somewhere, strict=True) if ranks):
            flat = torch.cat([_gradient(parameter).flatten() for parameter in bucket])
            with self._exchanging():
                distributed.all_reduce(flat)
            parts = torch.split(flat, [parameter.numel() for parameter in bucket])
            for parameter, gradient in zip(bucket, parts, strict=True):
                parameter.grad = gradient.view_as(parameter)

    def refuse_if_different(self, parts: Mapping[str, bytes]) -> None:
        """Raise :class:`RanksDiffer` naming the parts that are not byte for byte the same on all ranks."""
        if self.world == 1:
            return
        digests = [hashlib.blake2b(part, digest_size=6).digest() for part in parts.values()]
        mine = torch.tensor(
            [int.from_bytes(digest) for digest in digests], dtype=torch.float64
        )  # 48 bits fit
        by_rank = self.gather(mine).view(self.world, -1)
        different = [
            name for name, column in zip(parts, by_rank.unbind(1), strict=True) if column.ne(column[0]).any()
        ]
        if different:
            raise RanksDiffer(f"The processes of this job differ in {' and '.join(different)}.")

    def part_dropout(self, seed: int, step: int) -> None:
        """Give each rank dropout masks of its own, decided by seed, step and rank; alone, leave them be."""
        if self.world > 1:
            named = hashlib.blake2b(f"{seed}:dropout:{step}:{self.rank}".encode(), digest_size=7).digest()
            torch.manual_seed(int.from_bytes(named))

    def _slot(self, value: float) -> list[float]:
        return [value if rank == self.rank else 0.0 for rank in range(self.world)]

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Turn the ways an exchange says "nobody there" into :class:`RankLost`."""
        try:
            yield
        except RuntimeError as error:
            why = self.reason() or "it said nothing; see the end of its log"
            raise RankLost(f"A process of this job ended or no longer answers: {why}.") from error


ALONE = Ranks(rank=0, world=1)


class SharedStop:
    """A stop signal that all ranks hear at the same place, whichever of them was asked."""

    def __init__(self, stop: StopSignal, ranks: Ranks) -> None:
        self._stop, self._ranks = stop, ranks

    def requested(self) -> bool:
        """Tell whether any rank was asked to stop; all ranks ask together."""
        return self._ranks.any(self._stop.requested())

    def requested_here(self) -> bool:
        """Tell whether this rank was asked, without a word to the others."""
        return self._stop.requested()


@contextmanager
def joined(place: Place, timeout: timedelta = TIMEOUT, *, cuda: bool = False) -> Iterator[Ranks]:
    """Meet the other processes for the length of this block, and tell them why when it fails.

    Addresses come from the launcher's environment. Numbers on the host travel by gloo; with ``cuda`` each
    process takes the GPU of its local number, and gradients travel by NCCL. A process that ends takes the
    others with it at their next exchange; one that hangs, after ``timeout``.
    """
    if place.world == 1:
        yield ALONE
        return
    if cuda:
        _take_device(place.local)
    with _meeting():
        store, rank, world = next(rendezvous("env://", timeout=timeout))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=PrefixStore("neftune", store),
            rank=rank,
            world_size=world,
            timeout=timeout,
        )
    try:
        yield Ranks(rank, world, lambda: _read_reason(store))
    except RankLost:
        raise
    except Exception as error:
        _leave_reason(store, rank, error)
        raise  # the connections end with the process; to close them in order the others would have to answer
    distributed.destroy_process_group()


@contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"Not all processes of this job came together: {error}") from error


def _take_device(local: int) -> None:
    devices = torch.cuda.device_count()
    if local >= devices:
        raise SpecError(f"More processes were started on this machine than it has GPUs ({devices}).")
    torch.cuda.set_device(local)


def _leave_reason(store: Store, rank: int, error: Exception) -> None:
    # The text of an unforeseen error may hold rows; it stays in that process's log.
    told = f"{error.code}: {error}" if isinstance(error, CoreError) else type(error).__name__
    with suppress(RuntimeError):
        store.set(_REASON, f"rank {rank} ended with {told}")


def _read_reason(store: Store) -> str:
    with suppress(RuntimeError):  # the store ended with the rank that held it
        if store.check([_REASON]):
            told: bytes = store.get(_REASON)
            return told.decode().rstrip(".")
    return ""


def fingerprint(parameters: Iterable[torch.nn.Parameter]) -> bytes:
    """Condense weights: trained ones whole, frozen ones, which come from a file, by a sample."""
    condensed = hashlib.blake2b()
    for parameter in parameters:
        values = parameter.detach().flatten()
        if not parameter.requires_grad:
            values = values[:: max(1, len(values) // _SAMPLED)]
        condensed.update(values.contiguous().cpu().view(torch.uint8).numpy().data)
    return condensed.digest()


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _buckets(parameters: Iterable[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Group parameters of one dtype up to what one exchange should hold."""
    by_dtype: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        bucket = by_dtype.setdefault(parameter.dtype, [])
        if bucket and sum(p.numel() for p in bucket) + parameter.numel() > _ELEMENTS_AT_ONCE:
            yield by_dtype.pop(parameter.dtype)
            bucket = by_dtype.setdefault(parameter.dtype, [])
        bucket.append(parameter)
    yield from by_dtype.values()
