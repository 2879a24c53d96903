"""The committed model: small, plain, loadable by anybody's transformers, and good at its small world."""

import json
import os
import re
import subprocess
import sys
from itertools import islice

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from standalone.base_model import quiz
from standalone.base_model.corpus import ASSISTANT, BOS, END, PAD, USER
from standalone.base_model.pretrain import held_out_loss
from standalone.demo.dataset import HELD_OUT
from standalone.demo.story import MODEL_DIR

FILES = {
    "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(MODEL_DIR, local_files_only=True)


@pytest.fixture(scope="module")
def words():
    return Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))


def test_the_folder_holds_data_only_and_at_most_eight_megabytes():
    assert {path.name for path in MODEL_DIR.iterdir()} == FILES
    assert sum(path.stat().st_size for path in MODEL_DIR.iterdir()) <= 8_000_000


def test_it_has_at_most_1_8_million_parameters_in_fp32(model):
    assert model.num_parameters() <= 1_800_000
    with safe_open(MODEL_DIR / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F32"}  # noqa: SIM118 - no mapping


def test_it_wants_no_code_of_its_own():
    for name in ("config.json", "tokenizer_config.json"):
        assert "auto_map" not in json.loads((MODEL_DIR / name).read_text())


def test_linear_sizes_suit_nf4(model):
    sizes = [module.weight.shape for module in model.model.modules() if isinstance(module, torch.nn.Linear)]
    assert sizes
    assert all(size % 64 == 0 for shape in sizes for size in shape)


def test_special_tokens_agree_between_the_files(model):
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR, local_files_only=True)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (BOS, END, PAD)
    for settings in (model.config, model.generation_config):
        assert settings.bos_token_id == tokenizer.bos_token_id
        assert settings.eos_token_id == tokenizer.eos_token_id
        assert settings.pad_token_id == tokenizer.pad_token_id


def test_the_chat_template_is_that_of_the_training_text():
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR, local_files_only=True)
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello!"}], tokenize=False, add_generation_prompt=True
    )
    assert rendered == f"{BOS}{USER}Hello!{END}{ASSISTANT}"


def test_it_answers_what_it_was_taught(model, words):
    told = quiz.score(model, words, 60)
    assert told.exact >= 0.75, told.wrong


@pytest.mark.parametrize(("question", "content", "subject"), HELD_OUT)
def test_it_knows_what_the_demo_asks(model, words, question, content, subject):
    said = quiz.answer(model, words, question)
    assert content in said
    assert subject in said.lower()


def test_the_card_tells_the_measured_loss(model, words):
    told = float(re.search(r"another seed \| ([0-9.]+)", (MODEL_DIR / "README.md").read_text())[1])
    assert held_out_loss(model, words) == pytest.approx(told, abs=2e-4)


@pytest.mark.long
def test_the_command_line_writes_a_model_that_loads(tmp_path):
    command = [sys.executable, "-m", "standalone.base_model", str(tmp_path / "tiny"), "--steps", "1"]
    command += ["--questions", "1"]
    subprocess.run(
        command, check=True, timeout=240, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == FILES
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny", local_files_only=True)
    assert again.config.tie_word_embeddings
    assert sum(1 for _ in islice(again.parameters(), 1000)) == 38
