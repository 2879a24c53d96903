"""Rows as users upload them: real files where NEFTUNE_TEST_DATA names a folder, else rows of those shapes."""

import json
import os
from pathlib import Path


def alpaca() -> bytes:
    """Alpaca rows in a JSON array (999 real ones)."""
    return _real("alpaca_en_demo.json") or _array(
        {
            "instruction": f"Name the number that follows {n}.",
            "input": "" if n % 2 else "Answer in one sentence.",
            "output": f"The number that follows {n} is {n + 1}.",
        }
        for n in range(300)
    )


def sharegpt() -> bytes:
    """Conversations as Vicuna's were kept."""
    return _real("sharegpt_dummy_conversation.json") or _array(
        {
            "id": f"identity_{n}",
            "conversations": [
                {"from": "human", "value": f"Who are you, number {n}?"},
                {"from": "gpt", "value": f"I am assistant number {n}."},
            ],
        }
        for n in range(80)
    )


def tool_calls() -> bytes:
    """Conversations that call functions and read what came back."""
    call = json.dumps({"name": "add", "arguments": {"a": 1, "b": 2}})
    tools = json.dumps([{"name": "add", "description": "Add two numbers", "parameters": {}}])
    return _real("glaive_toolcall_en_demo.json") or _array(
        {
            "conversations": [
                {"from": "human", "value": f"What is 1 and 2, question {n}?"},
                {"from": "function_call", "value": call},
                {"from": "observation", "value": '{"sum": 3}'},
                {"from": "gpt", "value": "It is 3."},
            ],
            "tools": tools,
        }
        for n in range(80)
    )


def chinese() -> bytes:
    """Messages in Chinese, written for this test."""
    colours = {"天空": "蓝色", "草地": "绿色", "雪": "白色", "太阳": "黄色", "煤": "黑色", "樱桃": "红色"}
    return b"".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"第{n}题:{thing}是什么颜色?"},
                    {"role": "assistant", "content": f"{thing}是{colour}的。"},
                ]
            },
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for n in range(1, 11)
        for thing, colour in colours.items()
    )


def _array(made: object) -> bytes:
    return json.dumps(list(made)).encode()


def _real(name: str) -> bytes | None:
    folder = os.environ.get("NEFTUNE_TEST_DATA")
    return (Path(folder) / name).read_bytes() if folder else None
