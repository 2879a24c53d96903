"""What is shown of a dataset before a run is what the run then does."""

import json
import random
from pathlib import Path

import pytest

from neftune_core import prompts, readout, train
from neftune_core.errors import DatasetError, ModelError, SpecError
from neftune_core.examples import examples_of
from neftune_core.light_tokenizer import read_tokenizer
from neftune_core.model import load_tokenizer
from neftune_core.readout import Sample
from neftune_core.rows import Message, Row
from neftune_core.spec import TrainingSpec
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

DEMO = Path("standalone/models/neftune/demo-base")
HANG = "{% for a in range(100000) %}{% for b in range(100000) %}{% set c = a %}{% endfor %}{% endfor %}"
GROW = (
    "{% set ns = namespace(x='a' * 99999) %}{% for a in range(15) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)
# Comparing never leaves native code, so nothing within the process can stop it.
NATIVE = (
    "{% set ns = namespace(x=[0], y=[0]) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny")


def written(path: Path, rows: list[Row]) -> Sample:
    """A dataset of conversations."""
    lines = [
        json.dumps({"messages": [{"role": one.role, "content": one.content} for one in row.messages]})
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return Sample(path, whole=True, layout="jsonl")


def conversations() -> list[Row]:
    """Rows of many lengths; some spell special tokens."""
    chance = random.Random(1)
    words = ["light", "house", "keeper", "storm", "<|im_start|>", "</s>", "<|end|>", "sea", "海", "fish"]
    text = [" ".join(chance.choices(words, k=chance.randint(1, 60))) for _ in range(60)]
    return [Row("messages", messages=(Message("user", a), Message("assistant", b)))
            for a, b in zip(text[::2], text[1::2], strict=True)]  # fmt: skip


@pytest.mark.parametrize("template", ["chat", "vicuna", "alpaca", "plain"])
@pytest.mark.parametrize("model", ["tiny", "demo"])
def test_the_light_tokenizer_gives_the_examples_of_the_run(tiny: Path, model: str, template: str) -> None:
    folder = {"tiny": tiny, "demo": DEMO}[model]
    training = TrainingSpec(max_length=420)
    kind: prompts.Template = template  # type: ignore[assignment]  # it is one of them
    light, whole = (
        examples_of(conversations(), training, read(folder), kind)
        for read in (read_tokenizer, load_tokenizer)
    )
    assert len(light.examples) > 20
    assert [one.key for one in light.examples] == [one.key for one in whole.examples]
    assert [one.trained.tolist() for one in light.examples] == [
        one.trained.tolist() for one in whole.examples
    ]
    assert (light.truncated, light.unended) == (whole.truncated, whole.unended)


def test_a_preview_shows_what_is_trained_and_where_the_cut_falls(tiny: Path, tmp_path: Path) -> None:
    rows = [Row("messages", messages=(Message("user", "ask"), Message("assistant", "tell" * 50)))]
    told = readout.preview(written(tmp_path / "rows", rows), tiny, TrainingSpec(max_length=64), 5)
    [row] = told["rows"]
    [example] = row["examples"]
    spans = example["spans"]

    assert (told["template"], example["kept_tokens"], example["truncated"]) == ("chat", 64, True)
    shown = "".join(span["text"] for span in spans)
    assert shown.startswith("<|im_start|>user\nask<|im_end|>\n<|im_start|>assistant\ntelltell")
    trained = "".join(span["text"] for span in spans if span["trained"])
    assert set(trained) == set("tel")
    assert len(trained) == example["trained_tokens"]  # of this tokenizer each letter is a token
    assert example["tokens"] == example["kept_tokens"] + 50 * 4 - len(trained) + 2


def test_a_preview_shows_the_beginning_of_text_where_the_run_puts_one(tiny: Path, tmp_path: Path) -> None:
    sample = written(tmp_path / "rows", make_rows(1))
    told = readout.preview(sample, tiny, TrainingSpec(template="vicuna"), 1)
    assert told["rows"][0]["examples"][0]["spans"][0]["text"].startswith("<s>")


def test_a_row_that_no_template_takes_is_shown_with_its_fault_and_counted(tiny: Path, tmp_path: Path) -> None:
    rows = [*make_rows(3), Row("messages", messages=(Message("user", "a"), Message("user", "b"),
                                                     Message("assistant", "c")))]  # fmt: skip
    sample, training = written(tmp_path / "rows", rows), TrainingSpec(template="alpaca")
    shown = readout.preview(sample, tiny, training, 10)["rows"]
    counted = readout.token_counts(sample, tiny, training)

    assert [one["fault"] and one["fault"]["code"] for one in shown] == [None, None, None, "template_error"]
    assert counted["unrenderable"]["rows"] == 1
    assert counted["unrenderable"]["first"][0]["row"] == 4
    assert counted["examples"] == 3


def test_counts_are_those_of_the_run_and_so_is_the_ratio_of_noise(tiny: Path, tmp_path: Path) -> None:
    # Given rows of which some are cut, all of them in each step
    rows = make_rows(24)
    sample = written(tmp_path / "rows", rows)
    spec = make_spec(alpha=10.0, validation={"split": 0.0},
                     training={"batch_size": 24, "max_steps": 6, "max_length": 64})  # fmt: skip
    # When they are counted, and trained on
    counted = readout.token_counts(sample, tiny, spec.training)
    notebook = Notebook()
    outcome = train.run(spec, rows, [], tmp_path / "out", tiny, notebook, Never())
    # Then the figures are the same
    [planned] = notebook.named("run.planned")
    assert counted["tokens"] == planned["tokens_per_epoch"]
    assert counted["examples"] == planned["train_examples"]
    assert any(f"{counted['truncated']} examples were cut" in one for one in planned["warnings"])
    assert counted["truncated"] > 0
    told = {one["alpha"]: one for one in counted["noise"]["alphas"]}
    assert told[10.0]["ratio"] == pytest.approx(float(outcome.noise["noise_ratio"]), rel=0.02)  # type: ignore[arg-type]  # it is a number
    assert told[5.0]["ratio"] == pytest.approx(told[10.0]["ratio"] / 2)
    assert told[5.0]["bound_largest"] > told[5.0]["bound_at_p50"] >= told[5.0]["bound_at_p95"]


def test_lengths_are_told_before_the_cut_in_bins_that_hold_all(tiny: Path, tmp_path: Path) -> None:
    sample = written(tmp_path / "rows", make_rows(30))
    long, short = (readout.token_counts(sample, tiny, TrainingSpec(max_length=n)) for n in (512, 40))
    assert long["length"] == short["length"]
    assert long["truncated"] == 0 < short["truncated"]
    bins = long["length"]["histogram"]
    assert sum(one["examples"] for one in bins) == 30
    assert bins[-1]["from"] <= long["length"]["max"] <= bins[-1]["to"]
    assert long["length"]["p50"] < long["length"]["p95"] <= long["length"]["max"]


def test_of_a_file_that_is_cut_off_the_whole_rows_are_read(tiny: Path, tmp_path: Path) -> None:
    whole = written(tmp_path / "rows", make_rows(6000))
    data = whole.path.read_bytes()[:-20]
    whole.path.write_bytes(data)
    told = readout.token_counts(Sample(whole.path, whole=False, layout="jsonl"), tiny, TrainingSpec())
    assert 1000 < told["rows_read"] < 6000


def test_no_more_rows_are_read_when_the_time_is_over(tiny: Path, tmp_path: Path) -> None:
    sample = written(tmp_path / "rows", make_rows(2000))
    told = readout.token_counts(sample, tiny, TrainingSpec(), seconds=0)
    assert told["rows_read"] == 100


def test_a_table_is_read_too(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("prompt,completion\nask,tell\nmore,less\n")
    told = readout.preview(Sample(tmp_path / "t.csv", whole=True, layout="csv"), tiny, TrainingSpec(), 1)
    assert (told["template"], len(told["rows"])) == ("plain", 1)


def model_with(folder: Path, tiny: Path, **config: object) -> Path:
    """A copy of the tiny model with another tokenizer configuration."""
    folder.mkdir()
    for file in tiny.iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).symlink_to(file)
    (folder / "tokenizer_config.json").unlink()
    old = json.loads((tiny / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**old, **config}))
    return folder


def test_a_token_that_only_the_configuration_calls_special_is_one_as_in_the_run(
    tiny: Path, tmp_path: Path
) -> None:
    model = model_with(tmp_path / "model", tiny, eos_token="<|stop|>")
    light, whole = (
        examples_of(make_rows(5), TrainingSpec(), read(model), "vicuna")
        for read in (read_tokenizer, load_tokenizer)
    )
    assert [one.key for one in light.examples] == [one.key for one in whole.examples]
    assert light.examples[0].ids[-1] == 261  # of this tokenizer's letters none


@pytest.mark.parametrize("template", [HANG, GROW])
def test_a_template_that_never_ends_costs_a_fault_and_no_more(
    tiny: Path, tmp_path: Path, template: str
) -> None:
    model = model_with(tmp_path / "model", tiny, chat_template=template)
    told = readout.preview(written(tmp_path / "rows", make_rows(1)), model, TrainingSpec(), 1)
    assert told["rows"][0]["fault"]["code"] == "template_error"


@pytest.mark.parametrize("template", [HANG, NATIVE])
def test_what_takes_too_much_of_the_child_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setattr(readout, "CPU_SECONDS", 1)
    model = model_with(tmp_path / "model", tiny, chat_template=template)
    with pytest.raises(DatasetError, match="more time or memory"):
        readout.preview(written(tmp_path / "rows", make_rows(3)), model, TrainingSpec(), 3)


def test_the_child_has_no_more_memory_than_it_is_given(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = written(tmp_path / "rows", make_rows(3))
    monkeypatch.setattr(readout, "MEMORY_BYTES", 2**26)  # less than it has when it begins
    with pytest.raises(DatasetError, match="more time or memory"):
        readout.preview(sample, tiny, TrainingSpec(), 1)


def test_a_model_without_a_tokenizer_file_is_refused_in_words(tiny: Path, tmp_path: Path) -> None:
    model = model_with(tmp_path / "model", tiny)
    (model / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no fast tokenizer"):
        readout.preview(written(tmp_path / "rows", make_rows(1)), model, TrainingSpec(), 1)


def test_more_tokens_than_the_model_has_places_for_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="512 positions"):
        readout.preview(written(tmp_path / "rows", make_rows(1)), tiny, TrainingSpec(max_length=513), 1)


def test_the_ratio_is_unknown_where_the_architecture_is(tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in tiny.iterdir():
        (model / file.name).symlink_to(file)
    (model / "config.json").unlink()
    config = json.loads((tiny / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "granite"}))
    told = readout.token_counts(written(tmp_path / "rows", make_rows(3)), model, TrainingSpec())["noise"]
    assert (told["channels"], told["embedding_rms"]) == (64, None)
    assert "architecture" in told["unknown_because"]
    assert told["alphas"][0]["ratio"] is None
    assert told["alphas"][0]["bound_at_p50"] > 0
