"""The folder of a model: weights, config, tokenizer and card, as ``from_pretrained`` wants them."""

import json
from pathlib import Path

from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from .corpus import BOS, END, PAD
from .pretrain import Measured
from .quiz import Quiz
from .tokenizer import settings

CARD = Path(__file__).with_name("card.md")


def write(out: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, measured: Measured, quiz: Quiz) -> None:
    """Write everything; what is there already is replaced."""
    out.mkdir(parents=True, exist_ok=True)
    _json(out / "config.json", _config(model))
    _json(out / "generation_config.json", _generation(tokenizer))
    _json(out / "tokenizer_config.json", settings())
    tokenizer.save(str(out / "tokenizer.json"))
    weights = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}  # tied: once
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "README.md").write_text(_card(model, measured, quiz), encoding="utf-8")


def _config(model: LlamaForCausalLM) -> dict[str, object]:
    config: dict[str, object] = model.config.to_diff_dict()
    return {**config, "architectures": ["LlamaForCausalLM"], "dtype": "float32"}


def _generation(tokenizer: Tokenizer) -> dict[str, object]:
    ids = {f"{name}_token_id": tokenizer.token_to_id(token) for name, token in _IDS.items()}
    return {**ids, "do_sample": False, "max_new_tokens": 128}


_IDS = {"bos": BOS, "eos": END, "pad": PAD}


def _card(model: LlamaForCausalLM, measured: Measured, quiz: Quiz) -> str:
    return CARD.read_text(encoding="utf-8").format(
        parameters=sum(weight.numel() for weight in model.parameters()),
        steps=measured.steps,
        tokens=measured.tokens,
        train_loss=measured.train_loss,
        held_out_loss=measured.held_out_loss,
        exact=quiz.exact,
        questions=quiz.questions,
    )


def _json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
