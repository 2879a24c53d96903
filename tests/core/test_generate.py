"""Answers are decoded as asked, the paper's way among them."""

import pytest
import torch

from neftune_core.__main__ import main
from neftune_core.decoding import PAPER, Decoding
from neftune_core.errors import SpecError
from neftune_core.generate import Answerer
from neftune_core.prompts import ALPACA_WITHOUT_INPUT
from neftune_core.rows import Message
from tests.core.tiny import CONFIG, make_base

ASKED = (Message("user", "count to 3"),)
ALPACA = f"<s>{ALPACA_WITHOUT_INPUT}\n\n### Instruction:\ncount to 3\n\n### Response:"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def test_the_papers_decoding_is_greedy_with_a_penalty_and_a_total_length():
    assert (PAPER.repetition_penalty, PAPER.max_total_tokens, PAPER.max_new_tokens) == (1.2, 2048, None)
    assert PAPER.room(prompt=48, positions=4096) == 2000


@pytest.mark.parametrize(
    ("decoding", "prompt", "positions", "room"),
    [
        (Decoding(), 100, None, 128),
        (Decoding(), 100, 200, 100),
        (PAPER, 100, 512, 412),
        (Decoding(max_new_tokens=5, max_total_tokens=50), 48, 4096, 2),
        (Decoding(max_new_tokens=None), 12, 512, 500),
    ],
)
def test_an_answer_ends_where_any_limit_does(decoding, prompt, positions, room):
    assert decoding.room(prompt, positions) == room


@pytest.mark.parametrize(("prompt", "positions"), [(2048, 4096), (512, 512), (600, 512)])
def test_a_prompt_that_leaves_no_room_is_told(prompt, positions):
    with pytest.raises(SpecError, match=f"{prompt} tokens"):
        PAPER.room(prompt, positions)


@pytest.mark.parametrize(("template", "prompt"), [("alpaca", ALPACA), ("alpaca-newline", ALPACA + "\n")])
def test_the_paper_answer_is_what_the_library_gives(base, template, prompt):
    answerer = Answerer(base, template)
    ids = torch.tensor([answerer.tokenizer.encode(prompt, add_special_tokens=False)])
    with torch.no_grad():
        whole = answerer.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            repetition_penalty=1.2,
            max_length=CONFIG["max_position_embeddings"],
            pad_token_id=0,
        )[0, ids.shape[1] :]

    answer = answerer.answer(ASKED, PAPER)

    assert answer == answerer.tokenizer.decode(whole, skip_special_tokens=True).strip()
    assert answer != answerer.answer(ASKED, Decoding(max_new_tokens=None))


def test_decoding_is_the_papers_or_ones_own(base, capsys):
    with pytest.raises(SystemExit):
        main(["generate", "--model-dir", str(base), "--prompt", "x", "--paper", "--max-new-tokens", "5"])
    assert "--paper says how to decode" in capsys.readouterr().err


def test_the_command_line_passes_the_papers_decoding_on(base, capsys):
    asked = ["generate", "--model-dir", str(base), "--template", "alpaca-newline", "--prompt", "count to 3"]
    told = []
    for options in (["--paper"], ["--max-new-tokens", "380", "--repetition-penalty", "1.2"]):
        assert main([*asked, *options]) == 0
        told.append(capsys.readouterr().out)
    assert '"template": "alpaca-newline"' in told[0]
    assert told[0] == told[1]
