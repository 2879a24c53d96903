"""Child processes that may die: what they know of their surroundings, and how they limit themselves.

For native parsers and for templates from strangers. What is limited is the child alone; it holds no secret.
"""

import os
import resource
from collections.abc import Mapping


def bare_environment() -> Mapping[str, str]:
    """Give the child what Python and one thread need; no secret of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    one_thread = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "ARROW_IO_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**kept, **one_thread, "ARROW_DEFAULT_MEMORY_POOL": "system"}


def limit_myself(memory_bytes: int, cpu_seconds: int) -> None:
    """Not in the parent between fork and exec, where other threads' locks may be held for ever."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
