"""A checkpoint on another machine, or for another model: taken where it can be, refused where it can't."""

import pytest
import torch

from neftune_core import arranging
from neftune_core.errors import CheckpointMismatch
from neftune_core.training_state import moments_of, put_moments
from tests.core.test_resume import begin, spec_of
from tests.core.tiny import make_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def test_where_the_model_cannot_be_packed_a_packed_run_goes_on_padded(tmp_path, monkeypatch):
    base = make_base(tmp_path / "base")
    spec = spec_of(training={"max_steps": 4})
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)
    begin(base, tmp_path / "out", spec, 2)
    monkeypatch.setattr(arranging, "use_packed_attention", lambda *_, **__: "it is another machine")

    resumed = begin(base, tmp_path / "out", spec, resume=True)

    assert (whole.outcome.resolved["packing"], resumed.outcome.resolved["packing"]) == ("on", "off")
    assert resumed.series("train_loss") == pytest.approx(whole.series("train_loss")[2:], rel=1e-5)


@pytest.mark.parametrize("change", ["another shape", "another name"])
def test_an_optimizer_that_remembers_another_model_is_refused(change):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    tensors, groups = moments_of(model, optimizer)
    moment = tensors.pop("weight/exp_avg")
    wrong = {"weight/exp_avg": moment[:1]} if change == "another shape" else {"other/exp_avg": moment}

    with pytest.raises(CheckpointMismatch, match="exp_avg does not fit"):
        put_moments(model, optimizer, {**tensors, **wrong}, groups)
    put_moments(model, optimizer, {**tensors, "weight/exp_avg": moment}, groups)
