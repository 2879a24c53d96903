"""Several processes: who takes which examples, what is added up, and how they end together."""

import os
import signal

import numpy as np
import pytest
import torch

from neftune_core import ranks as ranks_module
from neftune_core.errors import OutOfMemory, SpecError
from neftune_core.launched import Place, place_in
from neftune_core.ranks import ALONE, Ranks, SharedStop, fingerprint
from neftune_core.tokenise import Example
from tests.core.processes import in_processes, sleep_for_ever

WORDS = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}


def examples_of(*lengths):
    return [
        Example(row, np.arange(length, dtype=np.int32), ones := np.ones(length, dtype=bool), row, ones)
        for row, length in enumerate(lengths)
    ]


# What the launcher said


def test_a_process_without_a_launcher_is_alone_and_leads():
    assert place_in({"PATH": "/bin"}) == place_in({"WORLD_SIZE": "1"}) == Place()
    assert Place().leads


def test_a_launched_process_knows_its_place():
    assert place_in(WORDS) == Place(rank=1, world=4, local=1)
    assert not place_in(WORDS).leads


@pytest.mark.parametrize("words", [{"RANK": "4"}, {"RANK": "-1"}, {"RANK": "one"}, {"LOCAL_RANK": "2"}])
def test_a_place_that_cannot_be_is_refused(words):
    with pytest.raises(SpecError):
        place_in({**WORDS, **words})


def test_a_world_without_a_rank_is_refused():
    with pytest.raises(SpecError, match="torchrun"):
        place_in({"WORLD_SIZE": "2"})


# Shares


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_make_up_the_step(world):
    examples = examples_of(9, 1, 4, 4, 30, 2, 7, 7)
    shares = [Ranks(rank, world).share(examples) for rank in range(world)]
    assert sorted(example.row for share in shares for example in share) == list(range(8))
    assert all([e.row for e in share] == sorted(e.row for e in share) for share in shares), "order is kept"


def test_shares_hold_about_as_many_tokens():
    examples = examples_of(*(10 + number * 37 % 91 for number in range(32)))
    tokens = [sum(len(e.ids) for e in Ranks(rank, 4).share(examples)) for rank in range(4)]
    assert max(tokens) - min(tokens) <= 10, "at most the shortest example apart"


def test_a_small_step_leaves_ranks_without_examples():
    assert [len(Ranks(rank, 3).share(examples_of(5, 5))) for rank in range(3)] == [1, 1, 0]


# Alone


def test_alone_nothing_is_exchanged_and_nothing_changes():
    ranks, parameter = ALONE, torch.nn.Parameter(torch.ones(2))
    generator = torch.get_rng_state()
    ranks.sum_gradients([parameter])
    ranks.refuse_if_different({"rows": b""})
    ranks.part_dropout(1, 1)
    assert parameter.grad is None
    assert ranks.sum(1.5, 2) == [1.5, 2]
    assert ranks.gather(torch.ones(3)).tolist() == [1, 1, 1]
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_fingerprint_tells_weights_of_any_type_apart():
    def weights(last, frozen=0.0):
        trained = [torch.tensor(1.0), torch.tensor([[1.0, 2.0], [3.0, last]]).bfloat16().t()]
        file = torch.nn.Parameter(torch.full((10_000,), frozen), requires_grad=False)
        return [*map(torch.nn.Parameter, trained), file]

    assert fingerprint(weights(4.0)) == fingerprint(weights(4.0))
    assert len({fingerprint(weights(*each)) for each in [(4.0,), (4.5,), (4.0, 1.0)]}) == 3


# Two processes


def exchange(ranks):
    """Use everything that is exchanged once, and give what this rank got."""
    here = ranks.rank
    ranks_module._ELEMENTS_AT_ONCE = 4  # so that there are several buckets
    matrix, both, one, none, half = (
        torch.nn.Parameter(torch.zeros(shape, dtype=dtype))
        for shape, dtype in [((2, 3), None), (2, None), ((), None), (1, None), (2, torch.bfloat16)]
    )
    matrix.grad = torch.arange(6.0).view(2, 3) * (here + 1)
    both.grad = torch.full((2,), float("nan") if here else 1.0)
    half.grad = torch.full((2,), 0.5, dtype=torch.bfloat16)
    if here:
        one.grad = torch.tensor(7.0)
    ranks.sum_gradients([matrix, both, one, none, half])
    ranks.part_dropout(seed=42, step=3)
    differ = ""
    try:
        ranks.refuse_if_different({"spec": b"same", "rows": b"%d" % here, "first weights": b"w"})
    except Exception as error:
        differ = f"{error.code}: {error}"
    return {
        "sum": ranks.sum(0.1, here),
        "any": [ranks.any(here == 1), ranks.any(False)],
        "gathered": ranks.gather(torch.full((here * 2,), 1 / 3, dtype=torch.float64)).tolist(),
        "nothing gathered": ranks.gather(torch.zeros(0, dtype=torch.float64)).tolist(),
        "matrix": matrix.grad.tolist(),
        "both": both.grad.isnan().tolist(),
        "one": one.grad.tolist(),
        "none": none.grad,
        "half": (half.grad.dtype, half.grad.tolist()),
        "dropout": torch.rand(4).tolist(),
        "differ": differ,
        "stops": [stop_of(ranks, rank).requested() for rank in (0, 1, 2)],
        "stops here": stop_of(ranks, 1).requested_here(),
    }


def stop_of(ranks, asked):
    class Asked:
        def requested(self):
            return ranks.rank == asked

    return SharedStop(Asked(), ranks)


@pytest.fixture(scope="module")
def exchanged():
    first, second = in_processes(exchange)
    return first.result, second.result


def test_numbers_are_summed_in_float64(exchanged):
    assert [told["sum"] for told in exchanged] == [[0.2, 1.0]] * 2
    assert [told["any"] for told in exchanged] == [[True, False]] * 2


def test_values_are_gathered_in_rank_order_however_many_each_has(exchanged):
    assert [told["gathered"] for told in exchanged] == [[1 / 3, 1 / 3]] * 2
    assert [told["nothing gathered"] for told in exchanged] == [[]] * 2


def test_gradients_are_summed_in_their_shape_and_type(exchanged):
    for told in exchanged:
        assert told["matrix"] == [[0, 3, 6], [9, 12, 15]]
        assert told["half"] == (torch.bfloat16, [1.0, 1.0])


def test_a_gradient_that_is_no_number_reaches_every_rank(exchanged):
    assert [told["both"] for told in exchanged] == [[True, True]] * 2


def test_a_parameter_has_a_gradient_everywhere_or_nowhere(exchanged):
    assert [told["one"] for told in exchanged] == [7.0] * 2
    assert [told["none"] for told in exchanged] == [None] * 2


def test_what_differs_between_ranks_is_refused_by_name(exchanged):
    assert [told["differ"] for told in exchanged] == [
        "ranks_differ: The processes of this job differ in rows."
    ] * 2


def test_a_stop_asked_of_one_rank_is_heard_by_all(exchanged):
    assert [told["stops"] for told in exchanged] == [[True, True, False]] * 2
    assert [told["stops here"] for told in exchanged] == [False, True]


def test_each_rank_has_dropout_masks_of_its_own(exchanged):
    assert exchanged[0]["dropout"] != exchanged[1]["dropout"]


def fail(ranks):
    if ranks.rank == 1:
        raise OutOfMemory("no memory at step 3.")
    ranks.sum(1.0)


def test_a_failure_of_one_rank_ends_the_others_with_its_reason():
    first, second = in_processes(fail)
    assert second.code == "cuda_oom"
    assert first.code == "rank_lost"
    assert "rank 1 ended with cuda_oom: no memory at step 3." in first.detail


def die(ranks):
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.sum(1.0)


def test_a_killed_rank_ends_the_others_at_once():
    first, second = in_processes(die, answers_within=3_600)
    assert second.by_signal == signal.SIGKILL
    assert first.code == "rank_lost"


def hang(ranks):
    if ranks.rank == 1:
        sleep_for_ever()
    ranks.sum(1.0)


def test_a_rank_that_answers_no_more_ends_the_others_in_time():
    first, second = in_processes(hang, answers_within=2, late=True)
    assert first.code == "rank_lost"
    assert second.by_signal == signal.SIGKILL, "it was still hanging"


def test_processes_that_never_come_are_not_waited_for_for_ever():
    (alone,) = in_processes(die, starts=1, answers_within=2)
    assert alone.code == "rank_lost"
    assert "came together" in alone.detail
