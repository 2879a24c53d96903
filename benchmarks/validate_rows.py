"""Validating JSON lines while they stream, against the standard library doing the same checks.

    python benchmarks/validate_rows.py [--rows 100000] [--million]

Arms take turns in one process, one thread, CPU seconds; claims are ratios. The peer is an honest loop over
lines: ``json.loads`` with hooks for duplicate keys and numbers, and the same looks at each message. Memory
is measured in a process of its own per arm, on ``--million`` rows generated as they are fed. Prints one
JSON line; ends with 1 when a goal is missed.
"""

import argparse
import hashlib
import itertools
import json
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from neftune_core.rows import RowScanner

PIECE = 64 * 1024
ROUNDS = 5
FASTER = 2.0
RSS_MB = 48


def made(rows: int) -> Iterator[bytes]:
    """Give chat rows of about 850 bytes; one in ten goes beyond ASCII, as in public data."""
    chance = random.Random(1)
    plain = [
        "noise",
        "embedding",
        "learns",
        "a",
        "the",
        "of",
        "it's",
        "token",
        "loss",
        'a \\"word\\"',
        "end.\\n",
    ]
    lines = []
    for number in range(500):
        words = plain + ["größer", "模型", "🤖"] * (number % 10 == 0)
        asked, told = (" ".join(chance.choices(words, k=k)) for k in (30, 90))
        messages = (
            '{"role": "system", "content": "You are kind."}, '
            f'{{"role": "user", "content": "{asked}"}}, {{"role": "assistant", "content": "{told}"}}'
        )
        lines.append(f'{{"messages": [{messages}]}}\n'.encode())
    for number in range(rows):
        yield lines[number % 500].replace(b"kind", b"kind %d" % number)


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for line in lines:
        held += line
        if len(held) >= PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def ours(chunks: Iterable[bytes]) -> int:
    scanner = RowScanner()
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish().rows


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _finite(chars: str) -> float:
    value = float(chars)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)


_LENIENT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)


class _Peer:
    """The same checks, counts and warnings over one line at a time."""

    def __init__(self) -> None:
        self.rows = self.turns = self.answers = self.chars = self.duplicates = 0
        self.first_turn = self.in_sequence = self.multi_turn = self.untrained = 0
        self.seen: set[int] = set()

    def check(self, line: bytes) -> None:
        if len(line) > 1 << 20 or line.count(b"[") + line.count(b"{") > 32:
            raise ValueError("too long or too deep")
        text = line.decode()
        if "\0" in text or "\\u0000" in text or "\\ud" in text:
            raise ValueError("character")
        if self.rows < 65_536:
            self.duplicates += hash(line) in self.seen
            self.seen.add(hash(line))
        row = _LENIENT.decode(text)
        if not row.keys() <= {"messages", "tools", "id"}:
            raise ValueError("key")
        answers = trained = 0
        before = "system"
        for message in row["messages"]:
            if not message.keys() <= {"role", "content", "weight", "name"}:
                raise ValueError("key")
            role, content = message["role"], message["content"]
            if role not in ("system", "user", "assistant", "tool"):
                raise ValueError("role")
            if not isinstance(content, str):
                raise ValueError("content")
            if role == "assistant":
                answers += 1
                trained += message.get("weight", 1) != 0
                self.first_turn += before == "system"
                self.chars += len(content)
                if not content or content.isspace():
                    raise ValueError("empty")
            self.in_sequence += role == before == "user"
            before = role
        if not answers:
            raise ValueError("no answer")
        self.rows += 1
        self.turns += len(row["messages"])
        self.answers += answers
        self.multi_turn += answers > 1
        self.untrained += not trained


def stdlib(chunks: Iterable[bytes]) -> int:
    peer = _Peer()
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            peer.check(line)
    if rest:
        peer.check(rest)
    return peer.rows


def hashed(chunks: Iterable[bytes]) -> int:
    digest = hashlib.sha256()
    rows = 0
    for chunk in chunks:
        digest.update(chunk)
        rows += chunk.count(b"\n")
    return rows


ARMS: dict[str, Callable[[Iterable[bytes]], int]] = {"ours": ours, "stdlib": stdlib, "sha256": hashed}


def seconds(arm: Callable[[Iterable[bytes]], int], chunks: list[bytes], rows: int) -> float:
    started = time.process_time()
    assert arm(chunks) == rows
    return time.process_time() - started


def peak_rss_mb(arm: str, rows: int) -> float:
    """Run one arm on generated rows in a fresh process and give its largest resident size."""
    command = [sys.executable, __file__, "--arm", arm, "--rows", str(rows)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def high_water_mb() -> float:
    """Give the largest resident size since exec; getrusage would count the parent's before it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="measure memory on a million rows")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.arm:
        ARMS[asked.arm](pieces(made(asked.rows)))
        print(high_water_mb())
        return 0
    chunks = list(pieces(made(asked.rows)))
    size = sum(map(len, chunks))
    spent: dict[str, list[float]] = {name: [] for name in ARMS}
    for _, (name, arm) in itertools.product(range(ROUNDS), ARMS.items()):
        spent[name].append(seconds(arm, chunks, asked.rows))
    ratios = [slow / fast for slow, fast in zip(spent["stdlib"], spent["ours"], strict=True)]
    memory_rows = 1_000_000 if asked.million else asked.rows
    memory = {name: round(peak_rss_mb(name, memory_rows), 1) for name in ("ours", "stdlib")}
    ratio = statistics.median(ratios)
    print(
        json.dumps(
            {
                "bench": "validate_rows",
                "rows": asked.rows,
                "mb": round(size / 1e6, 1),
                "rows_per_cpu_s": {
                    name: round(asked.rows / statistics.median(one)) for name, one in spent.items()
                },
                "mb_per_cpu_s": {
                    name: round(size / 1e6 / statistics.median(one)) for name, one in spent.items()
                },
                "ratio_to_stdlib": round(ratio, 2),
                "spread": [round(min(ratios), 2), round(max(ratios), 2)],
                "rss_mb": {"rows": memory_rows, **memory},
                "goals": {"ratio_to_stdlib": FASTER, "rss_mb": RSS_MB},
            }
        )
    )
    return 0 if ratio >= FASTER and memory["ours"] <= RSS_MB else 1


if __name__ == "__main__":
    sys.exit(main())
