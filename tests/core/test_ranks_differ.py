"""Ranks that would not come to one result are told so; and what only one of them may write, one writes."""

import pytest
import torch

from neftune_core import train
from neftune_core.errors import RanksDiffer
from neftune_core.progress import Wanted
from neftune_core.ranks import Ranks
from neftune_core.stepper import Stepper
from tests.core.processes import in_processes
from tests.core.test_ranks_training import results, spec_of
from tests.core.tiny import Never, Notebook, make_base, make_rows

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


class Drifts(Stepper):
    """After each step its weights are a little off."""

    def take(self, step, learning_rate, strength=1.0):
        taken = super().take(step, learning_rate, strength)
        with torch.no_grad():
            self._parameters[-1].add_(1e-6)
        return taken


def trained(ranks, base, out, *, rows=25, save_every="1h", resume=False):
    torch.set_num_threads(1)
    told = Notebook()
    out.mkdir(parents=True, exist_ok=True)
    spec = spec_of(alpha=5.0, training={"max_steps": 3, "save_every": save_every})
    wanted = Wanted(out / "checkpoints", resume)
    told.outcome = train.run(spec, make_rows(rows), (), out, base, told, Never(), ranks, checkpoints=wanted)
    return told


def differ(ranks, base, out):
    """Give what each rank was told, first where nothing differs, then of each thing that does."""
    other = ranks.rank == 1
    together = trained(ranks, base, out / "together", save_every=1)
    told = {"nothing": [step for step, _ in together.checkpoints]}

    def refused(name, *where, **how):
        try:
            trained(ranks, base, *where, **how)
        except RanksDiffer as error:
            told[name] = str(error)

    refused("rows", out / "rows", rows=24 if other else 25)
    # As where one machine does not see the other's folder
    refused("checkpoint", out / ("elsewhere" if other else "together"), resume=True)
    train.Stepper = Drifts if other else Stepper
    refused("weights", out / "weights")
    train.Stepper = Stepper
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    base = make_base(tmp_path_factory.mktemp("base"))
    return results(in_processes(differ, base, tmp_path_factory.mktemp("out")))


def test_only_the_rank_that_leads_saves_checkpoints(told):
    assert [rank["nothing"] for rank in told] == [[1, 2, 3], []]


@pytest.mark.parametrize(
    ("what", "named"),
    [("rows", "rows"), ("checkpoint", "the checkpoint they found"), ("weights", "last weights")],
)
def test_what_differs_ends_all_ranks_and_is_named(what, named, told):
    assert [rank.get(what) for rank in told] == [f"The processes of this job differ in {named}."] * 2


def test_ranks_that_share_a_folder_keep_their_best_weights_apart(tmp_path):
    files = {
        train._Run(spec_of(), tmp_path, tmp_path, Notebook(), Never(), Ranks(rank, 3))._file_of_best()
        for rank in range(3)
    }

    assert len(files) == 3
