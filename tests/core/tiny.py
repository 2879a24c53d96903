"""A tiny Llama from a seed, rows for it, and an honest listener: enough to train in a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from neftune_core.rows import Message, Row
from neftune_core.spec import JobSpec

SPECIAL = ("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.1,
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, five special tokens, a chat template, and a beginning-of-text token."""
    vocabulary = {token: number for number, token in enumerate(SPECIAL)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(SPECIAL[3:]),
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_base(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a random Llama of about 100 k parameters with its tokenizer."""
    make_tokenizer().save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(LlamaConfig(**{**CONFIG, **config})).save_pretrained(folder)
    return folder


def make_rows(count: int) -> list[Row]:
    """Make conversations of many lengths, each different."""
    return [
        Row(
            "messages",
            messages=(
                Message("user", f"count to {number}" + "!" * (number * 7 % 23)),
                Message("assistant", " ".join(str(n) for n in range(number % 13 + 1))),
            ),
        )
        for number in range(count)
    ]


def make_spec(**parts: Any) -> JobSpec:
    """Make a spec that trains in a second; ``training`` and ``noise`` are merged into short defaults."""
    training = {
        "max_steps": 4,
        "batch_size": 8,
        "max_length": 128,
        "learning_rate": 1e-3,
        "warmup_ratio": 0.0,
    }
    return JobSpec.model_validate(
        {
            "model": "acme/tiny",
            "dataset": "ds_tiny",
            **parts,
            "training": {**training, **parts.get("training", {})},
        }
    )


class Notebook:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float | None]] = {}
        self.events: list[tuple[str, dict[str, object]]] = []
        self.artifacts: list[tuple[str, Path]] = []
        self.checkpoints: list[tuple[int, Path]] = []

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        assert step not in self.steps, "one line a step"
        self.steps[step] = dict(values)

    def event(self, name: str, data: Mapping[str, object]) -> None:
        self.events.append((name, dict(data)))

    def checkpoint(self, step: int, path: Path) -> None:
        self.checkpoints.append((step, path))

    def artifact(self, name: str, path: Path) -> None:
        self.artifacts.append((name, path))

    def series(self, name: str) -> list[float | None]:
        """Give one metric over the steps that have it."""
        return [values[name] for _, values in sorted(self.steps.items()) if name in values]

    def named(self, name: str) -> list[dict[str, object]]:
        """Give the data of the events of a name."""
        return [data for told, data in self.events if told == name]


class AfterStep:
    """A stop signal that comes once a step was told."""

    def __init__(self, notebook: Notebook, step: int) -> None:
        self.notebook, self.step = notebook, step

    def requested(self) -> bool:
        return self.step in self.notebook.steps


class Never:
    """A stop signal that never comes."""

    def requested(self) -> bool:
        return False
