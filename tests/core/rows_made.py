"""Rows of every form, made here, in the shapes of the public files; and how to scan them."""

import json
import os
from pathlib import Path

from neftune_core.rows import RowScanner

CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
SHARE = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}
ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
PROMPT = {"prompt": "The sky is", "completion": " blue"}
TEXT = {"text": "Once upon a time"}
FORMS = {"messages": CHAT, "sharegpt": SHARE, "alpaca": ALPACA, "prompt_completion": PROMPT, "text": TEXT}

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL_CHAT = {
    "messages": [
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Two.", "weight": 1},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    "parallel_tool_calls": False,
}
TOOL_SHARE = {
    "conversations": [
        {"from": "human", "value": "1 + 1?"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "b": 1}}'},
        {"from": "observation", "value": '{"sum": 2}'},
        {"from": "gpt", "value": "Two."},
    ],
    "tools": '[{"name": "add", "description": "Adds", "parameters": {}}]',
}


def jsonl(*rows):
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def array(*rows, indent=2):
    return json.dumps(rows, ensure_ascii=False, indent=indent).encode()


def scan(data, *, piece=1 << 20, **options):
    scanner = RowScanner(**options)
    for start in range(0, len(data), piece):
        scanner.feed(data[start : start + piece])
    return scanner.finish()


def real_file(name, made):
    """Give a real file's bytes where the real data is, else rows of the same shape."""
    home = os.environ.get("NEFTUNE_TEST_DATA")
    return (Path(home) / name).read_bytes() if home else array(*made)
