import json
import os

import pytest

from neftune_core.catalog import Catalog, inspect_model
from neftune_core.errors import CustomCode, ModelError, ModelNotAvailable, UnsafeWeights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "f" * 40


def make_model(folder, *, config=None, weights="model.safetensors"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "llama"}))
    (folder / weights).write_bytes(b"")
    return folder


@pytest.fixture
def home(tmp_path):
    make_model(tmp_path / "models/neftune/demo-base")
    make_model(tmp_path / "models/acme/tiny")
    make_model(tmp_path / "cache/acme--big" / COMMIT)
    return tmp_path


def catalog(home, allowed=("*",), hub=False):
    return Catalog([home / "models"], allowed, hub, home / "cache")


def test_models_are_found_by_id_in_the_operators_folders(home):
    assert catalog(home).find("acme/tiny") == home / "models/acme/tiny"
    assert catalog(home).find("acme/other") is None


def test_only_what_a_pattern_allows_is_allowed(home):
    some = catalog(home, allowed=("neftune/*", "acme/b?g"))
    assert [some.allowed(one) for one in ("neftune/demo-base", "acme/big", "acme/tiny")] == [
        True,
        True,
        False,
    ]
    assert [card.id for card in some.list()] == ["acme/big", "neftune/demo-base"]
    assert catalog(home, allowed=()).list() == []


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "/etc/x",
        "file://x",
        "a/b/../../c",
        "-x/y",
        "a/..",
        "../b",
        "a/b\0",
        "a/b\n",
        "acmé/tiny",
        "a",
        "",
    ],
)
def test_a_path_is_never_a_model(home, name):
    everything = catalog(home)
    assert not everything.allowed(name)
    assert everything.find(name) is None
    with pytest.raises(ModelNotAvailable):
        everything.check(name)


def test_what_is_not_at_hand_is_refused_unless_there_is_a_hub(home):
    with pytest.raises(ModelNotAvailable):
        catalog(home).check("acme/other")
    catalog(home, hub=True).check("acme/other")
    with pytest.raises(ModelNotAvailable):
        catalog(home, allowed=("neftune/*",), hub=True).check("acme/other")


def test_the_cache_is_asked_by_commit_and_without_a_hub_for_the_newest(home):
    newest = make_model(home / "cache/acme--big" / LATER)
    os.utime(home / "cache/acme--big" / COMMIT, (1, 1))
    offline = catalog(home)
    assert offline.find("acme/big", COMMIT).name == COMMIT
    assert offline.find("acme/big", "e" * 40) is None
    assert offline.find("acme/big", "v1.0") is None
    assert offline.find("acme/big") == newest
    # a hub may know a newer commit
    assert catalog(home, hub=True).find("acme/big") is None
    assert catalog(home, hub=True).find("acme/big", COMMIT) is not None


def test_a_half_fetched_model_is_not_at_hand(home):
    make_model(home / "cache/acme--half/.part-1")
    (home / "cache/acme--half" / COMMIT).mkdir()
    assert catalog(home).find("acme/half") is None
    assert "acme/half" not in [card.id for card in catalog(home).list()]


def test_a_plain_model_passes(tmp_path):
    inspect_model(make_model(tmp_path / "m"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("config", [{"auto_map": {"AutoModel": "x.Y"}}, {"a": [{"custom_pipelines": {}}]}])
def test_a_model_that_brings_code_is_refused(tmp_path, name, config):
    folder = make_model(tmp_path / "m")
    (folder / name).write_text(json.dumps(config))
    with pytest.raises(CustomCode, match=name):
        inspect_model(folder)


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused(tmp_path, weights):
    with pytest.raises(UnsafeWeights):
        inspect_model(make_model(tmp_path / "m", weights=weights))


@pytest.mark.parametrize("config", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_broken_config_is_refused(tmp_path, config):
    folder = make_model(tmp_path / "m")
    (folder / "config.json").write_bytes(config)
    with pytest.raises(ModelError):
        inspect_model(folder)


def test_a_folder_without_config_is_no_model(tmp_path):
    with pytest.raises(ModelError):
        inspect_model(tmp_path)
