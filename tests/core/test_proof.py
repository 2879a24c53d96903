"""A run whose noise is not alpha's ends at once: whatever goes wrong between the options and the model."""

from dataclasses import replace

import pytest
import torch

from neftune_core import train
from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import attach
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def on_pads(_noise, layout):
    """Give a touch of noise to each pad."""
    return torch.where(layout.segment_BT < 0, 1e-3, 0.0)[..., None]


WRONG = {
    "4 % too strong": (lambda noise: replace(noise, alpha=1.04 * noise.alpha), None, "that of alpha 5.2"),
    "4 % too weak": (lambda noise: replace(noise, alpha=0.96 * noise.alpha), None, "that of alpha 4.8"),
    "none": (lambda noise: replace(noise, alpha=0.0), None, "squared norm 0; alpha 5 asks for 8.333"),
    "by the row's width": (lambda noise: replace(noise, scale="batch_width"), None, "alpha 5 asks for 8.333"),
    "also on pads": (lambda noise: noise, on_pads, "carry noise of norm 0.008"),
}


@pytest.mark.parametrize(("wrongly", "more", "told"), WRONG.values(), ids=WRONG)
def test_noise_that_is_not_alphas_ends_the_run_in_its_first_step(wrongly, more, told, tmp_path, monkeypatch):
    apply = attach.apply

    def applied(embeds_BTD, noise, layout, epoch, strength):  # noqa: N803 - axes
        noised_BTD, exact_BTD = apply(embeds_BTD, wrongly(noise), layout, epoch, strength)  # noqa: N806 - axes
        added = 0.0 if more is None else more(noise, layout)
        return noised_BTD + added, exact_BTD + added

    monkeypatch.setattr(attach, "apply", applied)
    torch.set_num_threads(1)
    spec = make_spec(alpha=5.0, training={"packing": "off", "micro_batch_size": 8})
    base, out, notebook = make_base(tmp_path / "base"), tmp_path / "out", Notebook()
    out.mkdir()

    with pytest.raises(NeftuneMisapplied, match=told):
        train.run(spec, make_rows(24), make_rows(30)[24:], out, base, notebook, Never())

    assert sorted(notebook.steps) == [0, 1]  # its numbers are told all the same
    assert notebook.named("neftune.verified") == []
    assert list(out.iterdir()) == []


def test_a_run_too_short_for_two_per_cent_ends_with_a_verdict_as_sharp_as_it_may_be(tmp_path):
    torch.set_num_threads(1)
    base, notebook = make_base(tmp_path / "base"), Notebook()
    spec = make_spec(alpha=5.0, training={"max_steps": 2, "batch_size": 1})

    outcome = train.run(spec, make_rows(2), (), tmp_path, base, notebook, Never())

    [verified] = notebook.named("neftune.verified")
    assert verified == outcome.noise
    assert verified["examples"] == 2
    assert verified["effective_alpha"] == pytest.approx(5.0, rel=verified["tolerance"])
    assert 0.02 < verified["tolerance"] < 0.05
