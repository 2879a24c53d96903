"""What docs/noise.md shows is what runs."""

import re
from pathlib import Path

import pytest
import torch

from neftune_core.noise import Layout, Noise, apply
from neftune_core.noise.meter import NoiseMeter
from neftune_core.noise.verification import Due, Verification
from tests.core.sft import rows_of, tiny_model

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "noise.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_script_that_is_tested():
    script = (DOCS / "examples/exact_neftune.py").read_text(encoding="utf-8")

    assert script.split('"""\n\n', 1)[1] in SNIPPETS


def test_a_loop_of_ones_own_gets_the_noise_by_the_lines_on_the_page():
    [lines] = [snippet for snippet in SNIPPETS if "inputs_embeds" in snippet]
    model, (long, short) = tiny_model(), rows_of(60, 20)
    ids = torch.tensor([long, short + [0] * 40])
    mask = (ids > 0).long()
    batch = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
    world = {"batch": batch, "model": model, "epoch": 0}

    exec(lines, world)
    world["loss"].backward()

    added = world["noised"] - world["embeds"]
    for row in added.detach():
        assert 3**0.5 * float(row.norm()) == pytest.approx(5.0, rel=0.05)
    assert torch.count_nonzero(added[1, 20:]) == 0
    assert model.get_input_embeddings().weight.grad is not None


def test_the_figures_that_the_page_names_are_those_that_runs_tell():
    noise, layout = Noise(5.0, 42), Layout.padded(torch.ones(1, 400), torch.tensor([7]))
    meter, check = NoiseMeter(1.0), Verification(noise)
    embeds = torch.zeros(1, 400, 64)

    meter.record(embeds, apply(embeds, noise, layout, 0)[1], layout)
    check.add(meter.read(), [Due(7, 400, 400)])

    told = set(check.conclude()) - {"alpha"}
    [line] = [line for line in PAGE.splitlines() if line.startswith("| event `neftune.verified`")]
    assert told <= set(re.findall(r"`(\w+)`", line))
