"""The tokenizer: trained again it is the committed one; any text goes in and comes out."""

import json
from itertools import islice

import jinja2
import pytest
from tokenizers import Tokenizer

from standalone.base_model import tokenizer
from standalone.base_model.corpus import BOS, END, PAD, SPECIAL, texts
from standalone.base_model.recipe import SEED, TEXTS
from standalone.demo.story import MODEL_DIR

ANY_TEXT = (
    "Grüße, 世界! 🚀 \u200b\t\r\n",
    "def f(x):\n    return x  # 1234",
    "\x00\x7f\ufffd",
    "العربية हिन्दी",
    " ".join(chr(point) for point in range(0x20, 0x17F)),
)


@pytest.fixture(scope="module")
def committed():
    return Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))


def test_training_again_gives_the_committed_tokenizer(committed):
    again = tokenizer.train(islice(texts(SEED), TEXTS))
    assert json.loads(again.to_str()) == json.loads(committed.to_str())


@pytest.mark.parametrize("text", ANY_TEXT)
def test_any_text_survives(committed, text):
    ids = committed.encode(text, add_special_tokens=False).ids
    assert committed.decode(ids, skip_special_tokens=False) == text


def test_digits_stay_apart(committed):
    assert committed.encode("2048", add_special_tokens=False).tokens == ["2", "0", "4", "8"]


def test_plain_encoding_begins_with_bos(committed):
    assert committed.encode("Hello").tokens[0] == BOS


def test_special_tokens_come_first_and_pad_is_not_the_end(committed):
    assert [committed.token_to_id(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    assert PAD != END


def _render(messages, **given):
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    template = environment.from_string(tokenizer.CHAT_TEMPLATE)
    return template.render(
        messages=messages, bos_token=BOS, **{"tools": None, "add_generation_prompt": False} | given
    )


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 plus 2?"},
    {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "add"}}]},
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "4."},
]


def test_the_template_writes_what_the_model_was_trained_on():
    user = {"role": "user", "content": "Hello!"}
    assert _render([user], add_generation_prompt=True) == "<|bos|><|user|>Hello!<|end|><|assistant|>"


def test_a_conversation_cut_short_renders_as_a_prefix():
    whole = _render(CONVERSATION, tools=[{"type": "function", "function": {"name": "add"}}])
    for length in range(1, len(CONVERSATION)):
        assert whole.startswith(
            _render(CONVERSATION[:length], tools=[{"type": "function", "function": {"name": "add"}}])
        )


def test_tools_and_their_calls_are_shown():
    whole = _render(CONVERSATION, tools=[{"type": "function", "function": {"name": "add"}}])
    assert whole.startswith('<|bos|><|system|>Tools: [{"')
    assert whole.count('"name": "add"') == 2
    assert "<|tool|>4<|end|>" in whole
