"""The headline of an evaluation: which figures it has, what stands beside them, and how many they may be."""

from neftune_core.evaluate.headline import MOST_FIGURES, figures, headline
from tests.core.report import made


def found(measured):
    return {(one.measure, one.of): one for one in figures(measured.results)}


def test_each_kind_has_its_figures_with_errors_and_the_base_beside_them():
    told = found(made.whole_evaluation())
    loss = told["loss", "held_out"]
    assert (loss.value, loss.base, loss.difference) == (3.25, 3.5, -0.25)
    rouge = told["rouge_l", "train"]
    assert (rouge.value, rouge.base, rouge.difference) == (0.4375, 0.25, 0.1875)
    assert (told["bleu", "train"].value, told["bleu", "train"].difference) == (21.75, 0.0)
    assert told["characters", "prompts"].value == 396.25
    assert told["repetition_2", "prompts"].value == 0.0625
    assert told["log_diversity", "50 words"].value == 2.71
    assert told["log_diversity_published", "50 words"].value == 6.82
    raw, equal = told["win_rate", "base"], told["win_rate_length_controlled", "base"]
    assert (raw.value, raw.standard_error, raw.base) == (61.25, 2.4375, None)
    assert (equal.value, equal.standard_error) == (58.5, 2.5)
    arc = told["acc", "arc_challenge"]
    assert (arc.value, arc.standard_error, arc.base) == (0.4125, 0.0144, 0.375)
    assert (arc.difference, arc.difference_standard_error) == (0.0375, 0.0085)


def test_baselines_are_no_figures_of_the_checkpoint():
    measured = made.evaluation(kinds=("diversity",), diversity=[made.diversity(variant="min_length")])
    assert found(measured) == {}


def test_of_an_evaluation_of_the_base_the_base_is_the_figure():
    measured = made.evaluation(
        spec={"checkpoint": "base"}, of={"checkpoint": "base"}, loss=[made.loss("base", per_token=3.5)]
    )
    assert (found(measured)["loss", "held_out"].value, found(measured)["loss", "held_out"].base) == (
        3.5,
        None,
    )


def test_of_a_group_of_tasks_the_group_itself_is_told():
    tasks = [made.benchmark(asked="mmlu", task=task) for task in ("mmlu", "mmlu_law", "mmlu_art")]
    other = [made.benchmark(asked="own", task=task) for task in ("own_1", "own_2")]
    measured = made.evaluation(kinds=("benchmarks",), benchmarks=[*tasks, *other])
    told = headline(measured.results.model_dump(mode="json"))
    assert [one["of"] for one in told["figures"]] == ["mmlu", "own_1", "own_2"]


def test_whatever_a_runner_wrote_a_headline_is_short():
    many = [made.loss("checkpoint", f"{number} {'x' * 9000}") for number in range(1000)]
    missing = [{"what": "judge", "why": "It was down."}]
    record = made.evaluation(loss=many, missing=missing).results.model_dump(mode="json")
    told = headline(record)
    assert (len(told["figures"]), told["missing"]) == (MOST_FIGURES, 1)
    assert {len(one["of"]) for one in told["figures"]} == {128}
    assert headline({"final": {}}) is None


def test_a_difference_that_is_no_number_is_none():
    far = [made.loss("base", per_token=-1.7e308), made.loss("checkpoint", per_token=1.7e308)]
    assert found(made.evaluation(loss=far))["loss", "held_out"].difference is None
