"""The final report: what base, best and last pay, told without changing what is exported."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from neftune_core import train
from neftune_core.final_report import Best, clean_rows, measured, table
from neftune_core.training_state import weights_of
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

# Learns well at first, then too fast to stay there.
OVERSHOOTING = {"max_steps": 8, "eval_every": 1, "learning_rate": 0.05, "scheduler": "constant"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def run(base, out, eval_rows, **parts):
    notebook = Notebook()
    spec = make_spec(**parts)
    notebook.outcome = train.run(spec, make_rows(24), eval_rows, out, base, notebook, Never())
    return notebook


HELD_OUT = make_rows(30)[24:]


@pytest.fixture(scope="module")
def overshot(base, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("overshot")
    return out, run(base, out, HELD_OUT, alpha=5.0, training=OVERSHOOTING)


def test_best_is_the_step_with_the_lowest_held_out_loss(overshot):
    _, told = overshot
    final, losses = told.outcome.final, told.series("eval_loss")

    assert final["best_eval_loss"] == min(losses) < losses[-1]
    assert final["best_step"] == losses.index(min(losses)) > 0
    assert (final["base_eval_loss"], final["eval_loss"]) == (losses[0], losses[-1])


def test_best_and_last_are_measured_on_the_same_training_rows(base, overshot, tmp_path):
    """A run that ends where the other one was best comes to what that one reports of its best."""
    final = overshot[1].outcome.final
    shorter = run(base, tmp_path, HELD_OUT, training={**OVERSHOOTING, "max_steps": final["best_step"]})

    then = shorter.outcome.final
    assert final["best_clean_train_loss"] == then["last_clean_train_loss"] == then["best_clean_train_loss"]
    assert final["base_clean_train_loss"] == then["base_clean_train_loss"]
    assert len({final[f"{which}_clean_train_loss"] for which in ("base", "best", "last")}) == 3


def test_the_best_adapter_is_the_one_that_a_run_to_its_step_leaves(base, overshot, tmp_path):
    out, told = overshot
    best = told.outcome.final["best_step"]
    run(base, tmp_path, HELD_OUT, alpha=5.0, training={**OVERSHOOTING, "max_steps": best})

    assert told.outcome.best == out / "best"
    names = sorted(path.name for path in (out / "best").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    then, now = (
        load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "adapter", out / "best")
    )
    assert then.keys() == now.keys()
    assert all(torch.equal(then[name], now[name]) for name in then)
    config = [
        json.loads((one / "adapter_config.json").read_text()) for one in (out / "adapter", out / "best")
    ]
    assert config[0] == config[1]


def test_a_best_that_is_the_last_or_the_base_is_not_saved_twice(base, tmp_path):
    last = run(base, tmp_path / "last", HELD_OUT, training={"max_steps": 2, "learning_rate": 1e-3})
    assert last.outcome.final["best_step"] == 2
    assert last.outcome.best is None
    assert not (tmp_path / "last" / "best").exists()


def test_noise_is_off_in_the_report(base, overshot, tmp_path):
    loud = run(base, tmp_path, HELD_OUT, alpha=100.0, training={"max_steps": 1, "learning_rate": 1e-8})

    final = loud.outcome.final
    assert final["last_clean_train_loss"] == pytest.approx(final["base_clean_train_loss"], abs=1e-5)
    assert final["base_clean_train_loss"] == overshot[1].outcome.final["base_clean_train_loss"]


def test_the_report_is_in_the_model_card_and_leaves_no_file(overshot):
    out, told = overshot
    final = told.outcome.final

    card = (out / "adapter" / "README.md").read_text()
    assert f"| clean loss | base | best (step {final['best_step']}) | last |" in card
    assert f"{final['best_clean_train_loss']:.4f} | {final['last_clean_train_loss']:.4f} |" in card
    assert "| 16 training rows |" in card
    assert {path.name for path in out.iterdir()} == {"adapter", "best"}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_last_weights_are_exported_and_nothing_of_them_is_changed(method, base, tmp_path, monkeypatch):
    """Bit for bit those of a run without any report; dropout would tell of a disturbed generator."""
    parts = {"method": method, "lora": {"lora_dropout": 0.1}, "training": OVERSHOOTING}
    file = "model/model.safetensors" if method == "full" else "adapter/adapter_model.safetensors"

    told = run(base, tmp_path / "with", HELD_OUT, **parts)
    monkeypatch.setattr(train, "measured", lambda *_: {})
    monkeypatch.setattr(Best, "saw", lambda *_: None)
    monkeypatch.setattr(train._Run, "_measure_base", lambda run: run.final.update(base_clean_train_loss=None))
    plain = run(base, tmp_path / "without", HELD_OUT, **parts)

    assert told.outcome.final["best_step"] not in (0, OVERSHOOTING["max_steps"])
    assert "best_step" not in plain.outcome.final
    assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()
    assert told.series("train_loss") == plain.series("train_loss")


def test_measuring_the_best_puts_weights_and_generators_back(tmp_path):
    model = torch.nn.Linear(3, 2)
    best = Best(tmp_path / "best.safetensors", 9.0)
    best.saw(1, 1.0, model)
    kept = {name: weight.clone() for name, weight in weights_of(model).items()}
    with torch.no_grad():
        model.weight += 1
    last = {name: weight.clone() for name, weight in weights_of(model).items()}
    generator = torch.get_rng_state()
    seen = []

    def measure():
        seen.append({name: weight.clone() for name, weight in weights_of(model).items()})
        return float(len(seen))

    told = measured(model, best, 2, measure, base=7.0)

    assert told["last_clean_train_loss"] == 1.0
    assert told["best_clean_train_loss"] == 2.0
    for found, expected in zip([*seen, weights_of(model)], [last, kept, last], strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_weights_are_put_back_when_the_measurement_breaks_off(tmp_path):
    model = torch.nn.Linear(3, 2)
    best = Best(tmp_path / "best.safetensors", None)
    best.saw(1, 1.0, model)
    with torch.no_grad():
        model.weight += 1
    last = model.weight.clone()
    losses = iter([1.0])

    with pytest.raises(StopIteration):
        measured(model, best, 2, lambda: next(losses), base=None)

    assert torch.equal(model.weight, last)


def test_the_base_itself_may_be_the_best(base, tmp_path):
    told = run(base, tmp_path, HELD_OUT, training={"max_steps": 2, "learning_rate": 1.0, "eval_every": 2})

    final = told.outcome.final
    assert final["best_step"] == 0
    assert final["best_eval_loss"] == final["base_eval_loss"] < final["eval_loss"]
    assert final["best_clean_train_loss"] == final["base_clean_train_loss"] < final["last_clean_train_loss"]


def test_without_held_out_rows_there_is_no_best_and_no_failure(base, tmp_path):
    told = run(base, tmp_path, ())

    final = told.outcome.final
    assert {name for name, value in final.items() if value is None} == {
        "best_step",
        "best_eval_loss",
        "best_clean_train_loss",
    }
    assert final["clean_train_rows"] == 16
    assert final["last_clean_train_loss"] < final["base_clean_train_loss"]
    assert "| held-out rows | – | – | – |" in (tmp_path / "adapter" / "README.md").read_text()
    assert json.dumps(final, allow_nan=False)


@pytest.mark.parametrize(
    ("train_rows", "eval_rows", "measured_rows"),
    [(10, 0, 10), (100, 0, 16), (100, 3, 16), (100, 40, 40), (1000, 900, 256), (20, 30, 20)],
)
def test_as_many_training_rows_are_measured_as_are_held_out_within_bounds(
    train_rows, eval_rows, measured_rows
):
    rows = list(range(train_rows))

    chosen = clean_rows(rows, eval_rows, seed=1)

    assert len(chosen) == len(set(chosen)) == measured_rows
    assert chosen == sorted(chosen) == clean_rows(rows, eval_rows, seed=1)
    assert measured_rows == train_rows or chosen != clean_rows(rows, eval_rows, seed=2)


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path):
    best, model = Best(tmp_path / "best.safetensors", None), torch.nn.Linear(2, 2)

    best.saw(1, None, model)
    assert (best.step, best.file) == (None, None)
    best.saw(2, 3.0, model)
    best.saw(3, 3.0, model)

    assert (best.step, best.eval_loss) == (2, 3.0)
    assert torch.equal(load_file(best.file)["weight"], model.weight)


def test_the_table_shows_what_is_missing_as_a_dash():
    told = table({"clean_train_rows": 16, "base_clean_train_loss": 1.23456, "eval_loss": math.pi})

    assert told.splitlines()[2:] == [
        "| 16 training rows | 1.2346 | – | – |",
        "| held-out rows | – | – | 3.1416 |",
    ]
