"""What names an example to the noise: its tokens and, among identical examples, its number.

The same example has the same key in every layout, whoever read it. Knows token ids only.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


class ExampleKeys:
    """Gives keys, and remembers what it has seen so that two copies of an example get different ones."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def key(self, ids: NDArray[np.integer]) -> int:
        """Name the next example by its tokens and by how many like it came before: a signed 64-bit number."""
        content = ids.astype("<u4").tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        occurrence = self._seen.get(digest, 0)
        self._seen[digest] = occurrence + 1
        named = hashlib.blake2b(content + occurrence.to_bytes(8, "little"), digest_size=8)
        return int.from_bytes(named.digest(), "little", signed=True)
