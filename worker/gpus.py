"""The GPUs that this process may use, by the driver's own library: names, numbers, memory, what they are at.

Without that library or without a driver there are none. Loads no torch and initialises no CUDA.
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from neftune_store.workers import Gpu


def visible() -> tuple[Gpu, ...]:
    """List them as CUDA counts them: those of ``CUDA_VISIBLE_DEVICES``, in its order."""
    library = _library()
    if library is None:
        return ()
    try:
        every = [_look(library, number) for number in range(library.nvmlDeviceGetCount())]
    except library.NVMLError:  # a device that fell off the bus takes the others' figures along, no more
        return ()
    return chosen(every, os.environ.get("CUDA_VISIBLE_DEVICES"))


def chosen(every: Sequence[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """Pick what ``CUDA_VISIBLE_DEVICES`` names, by numbers or by UUIDs; what follows a wrong one is lost."""
    if wanted is None:
        return tuple(every)
    found: list[Gpu] = []
    for name in filter(None, map(str.strip, wanted.split(","))):
        match = [gpu for number, gpu in enumerate(every) if name == str(number) or gpu.uuid.startswith(name)]
        if not match:
            break
        found.append(match[0])
    return tuple(found)


def _look(library: Any, number: int) -> Gpu:
    handle = library.nvmlDeviceGetHandleByIndex(number)
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    uuid, name = library.nvmlDeviceGetUUID(handle), library.nvmlDeviceGetName(handle)
    busy = _if_told(library, lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu)
    heat = _if_told(library, lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU))
    return Gpu(str(uuid), str(name), int(memory.total), int(memory.used), busy, heat)


def _if_told(library: Any, ask: Callable[[], Any]) -> int | None:
    try:
        return int(ask())
    except library.NVMLError:  # a part of a GPU, or a virtual one, does not say
        return None


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        import pynvml  # noqa: PLC0415 - of GPU hosts only
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
