"""What can be asked of a series, and what is refused with its place; and which half goes on."""

import pytest
from pydantic import ValidationError

from neftune_core.halving import kept
from neftune_core.spec_faults import faults_of
from neftune_core.sweep_spec import SweepSpec

JOB = {"model": "org/base", "dataset": "ds_x"}


def test_an_alpha_too_weak_to_be_measured_is_refused_in_a_series_too() -> None:
    with pytest.raises(ValidationError, match="at least 1e-06"):
        SweepSpec.model_validate({"job": JOB, "alpha": [5, 1e-300]})
    assert SweepSpec.model_validate({"job": JOB, "alpha": [1e-6]}).alpha == (0, 1e-6)


def test_only_the_job_needs_to_be_said() -> None:
    spec = SweepSpec.model_validate({"job": JOB})
    assert (spec.alpha, spec.seed, spec.strategy) == ((0.0, 5.0, 10.0, 15.0), (42, 43, 44), "grid")
    assert len(spec.points()) == 12
    assert spec.points()[:2] == [(0.0, 42), (5.0, 42)]


def test_a_job_of_it_is_the_job_with_its_alpha_and_seed() -> None:
    job = {**JOB, "preset": "paper-alpaca", "training": {"learning_rate": 1e-3}}
    made = SweepSpec.model_validate({"job": job}).job_at(10.0, 7)
    assert (made.alpha, made.training.seed, made.training.learning_rate) == (10.0, 7, 1e-3)
    plain = SweepSpec.model_validate({"job": job}).job
    training = plain.training.model_copy(update={"seed": 7})
    assert made == plain.model_copy(update={"alpha": 10.0, "training": training})


def test_the_control_is_added_once() -> None:
    assert SweepSpec.model_validate({"job": JOB, "alpha": [5, 0]}).alpha == (0.0, 5.0)
    assert SweepSpec.model_validate({"job": JOB, "alpha": [5]}).alpha == (0.0, 5.0)
    assert SweepSpec.model_validate({"job": JOB, "alpha": [10, 2.5, 5]}).alpha == (0.0, 2.5, 5.0, 10.0)


def test_a_hundred_jobs_are_not_too_many() -> None:
    asked = {"job": JOB, "alpha": [1.0 * n for n in range(1, 20)], "seed": list(range(5))}
    assert len(SweepSpec.model_validate(asked).points()) == 100


@pytest.mark.parametrize(
    ("given", "loc", "code"),
    [
        ({"alpha": []}, ("alpha",), "too_short"),
        ({"alpha": [0]}, ("alpha",), "only_control"),
        ({"alpha": [5, 5.0]}, ("alpha",), "given_twice"),
        ({"alpha": [5, -1]}, ("alpha", 1), "greater_than_equal"),
        ({"alpha": [5, 101]}, ("alpha", 1), "less_than_equal"),
        ({"alpha": [5, "5"]}, ("alpha", 1), "float_type"),
        ({"alpha": 5}, ("alpha",), "tuple_type"),
        ({"seed": []}, ("seed",), "too_short"),
        ({"seed": [1, 1]}, ("seed",), "given_twice"),
        ({"seed": [1, 2**31]}, ("seed", 1), "less_than_equal"),
        ({"seed": [1, 1.5]}, ("seed", 1), "int_type"),
        ({"alpha": [1.0 * n for n in range(1, 20)], "seed": list(range(6))}, (), "too_many_jobs"),
        ({"strategy": "random"}, ("strategy",), "literal_error"),
        ({"stratagem": "grid"}, ("stratagem",), "unknown_field"),
        ({"job": {**JOB, "alpha": 5}}, (), "varied"),
        ({"job": {**JOB, "training": {"seed": 1}}}, (), "varied"),
        ({"job": {"model": "org/base"}}, ("job", "dataset"), "missing_field"),
        ({"job": {**JOB, "training": {"epoch": 1}}}, ("job", "training", "epoch"), "unknown_field"),
        ({"job": None}, ("job",), "model_type"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(given: dict[str, object], loc: object, code: str) -> None:
    with pytest.raises(ValidationError) as error:
        SweepSpec.model_validate({"job": JOB, **given})
    assert [(fault.loc, fault.code) for fault in faults_of(error.value, SweepSpec)] == [(loc, code)]


def test_the_better_half_goes_on() -> None:
    losses = {5.0: {1: 4.4, 2: 4.5}, 10.0: {1: 4.2, 2: 4.2}, 15.0: {1: 4.3, 2: 4.9}}
    assert kept(losses) == [5.0, 10.0]
    assert kept({5.0: {1: 4.4}}) == [5.0]


def test_alphas_are_compared_by_seeds_that_all_of_them_have() -> None:
    losses = {5.0: {1: 4.0, 2: 9.0}, 10.0: {1: 4.1}}
    assert kept(losses) == [5.0]


def test_an_alpha_without_any_loss_goes_and_one_with_others_stays() -> None:
    assert kept({5.0: {}, 10.0: {1: 4.1}, 15.0: {1: 5.0}}) == [10.0, 15.0]
    assert kept({5.0: {1: 4.0}, 10.0: {2: 4.1}}) == [5.0, 10.0]
    assert kept({5.0: {}}) == []
