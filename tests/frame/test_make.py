"""The verbs of the Makefile and .ci/run: listed, true to the docs, honest about failure."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
VERBS = set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.M))
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]


def make(*arguments: str, folder: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the make that runs these tests, such as its ARGS.
    ours = ("MAKE", "MFLAGS", "ARGS", "JOBS")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=clean | env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A clone without an environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_make_alone_lists_every_verb():
    told = make()
    assert told.returncode == 0
    assert set(re.findall(r"^  make (\S+)", told.stdout, re.M)) == VERBS


def test_every_verb_is_phony():
    assert set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[0].split()) == VERBS


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_docs_name_only_verbs_that_exist(doc: Path):
    assert set(re.findall(r"`make ([a-z][a-z0-9-]*)", doc.read_text("utf-8"))) <= VERBS


def test_a_machine_without_python_is_told_what_to_do(bare: Path):
    told = make("setup", "PY=", folder=bare)
    assert told.returncode != 0
    assert "No Python 3.11, 3.12 or 3.13 found" in told.stdout


def test_a_python_that_does_not_fit_is_refused_by_name(bare: Path):
    told = make("setup", "PY=false", folder=bare)
    assert told.returncode != 0
    assert "false is not Python 3.11" in told.stdout
    assert not (bare / ".venv").exists()


def test_an_unknown_torch_is_refused(bare: Path):
    told = make("setup", "TORCH=tpu", folder=bare)
    assert told.returncode != 0
    assert "TORCH is cpu or cuda, not 'tpu'" in told.stdout


def test_setup_does_nothing_the_second_time(bare: Path):
    # Given an environment that is ready
    (bare / ".venv").mkdir()
    (bare / ".venv" / "ready-cuda").touch()
    # When it is asked for again, then not even an interpreter is looked for
    told = make("setup", folder=bare, PATH=str(Path(shutil.which("make") or "").parent))
    assert (told.returncode, "Installing" in told.stdout) == (0, False)


def test_a_failed_installation_fails_and_shows_why(bare: Path):
    # Given an environment whose pip cannot install
    pip = bare / ".venv" / "bin" / "python"
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    pip.chmod(0o755)
    # When it is set up
    told = make("setup", folder=bare)
    # Then the reason is shown, and it does not count as ready
    assert told.returncode != 0
    assert "the disk is full" in told.stdout
    assert not list((bare / ".venv").glob("ready-*"))


TOOLS = ("python", "ruff", "mypy", "lint-imports")


@pytest.fixture
def ready(bare: Path) -> Path:
    """A clone with an environment whose tools only note their calls; those in FAILS fail."""
    tools = bare / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in TOOLS:
        tool = tools / name
        tool.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {bare}/calls\n[ "$FAILS" != "{name} $1 $2" ] || exit 3\n'
        )
        tool.chmod(0o755)
    (bare / ".venv" / "ready-cpu").touch()
    return bare


# Each as its name and its first two arguments
GATES = ["ruff format --check", "ruff check .", "mypy  ", "lint-imports --no-logo ", "python -m pytest"]


def test_test_means_all_gates_and_then_all_tests(ready: Path):
    told = make("test", folder=ready, FAILS="")
    assert told.returncode == 0, told.stderr
    calls = (ready / "calls").read_text().splitlines()
    # Beside the gates, all that is imported is compiled once
    calls.remove("python -m pytest --collect-only")
    assert [f"{call}  "[: len(gate)] for call, gate in zip(calls, GATES, strict=True)] == GATES
    # No folder, no name and no mark narrows what is run, but for what takes long or needs a GPU
    assert re.fullmatch(
        "python -m pytest -n [0-9]+ --dist loadfile --no-loadscope-reorder -m not long and not gpu ?",
        calls[-1],
    )


def test_a_test_that_can_not_be_collected_fails_where_it_is_told(ready: Path):
    python = ready / ".venv" / "bin" / "python"
    python.write_text(python.read_text() + '[ "$3" != --collect-only ] || exit 2\n')
    assert make("test", folder=ready, FAILS="").returncode == 0


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_that_fails_fails_the_whole(ready: Path, gate: str):
    told = make("test", folder=ready, FAILS=gate)
    assert told.returncode != 0
    assert "Error 3" in told.stderr


@pytest.mark.parametrize("verb", ["demo", "up"])
def test_the_service_starts_after_setup(verb: str):
    planned = make("-n", "-W", "constraints.txt", verb).stdout
    assert planned.index("pip install") < planned.index(f"-m standalone {verb}")


@pytest.mark.parametrize("status", [0, 7])
def test_ci_runs_the_test_command_and_passes_its_status_on(tmp_path: Path, status: int):
    # Given a checkout beside real data, and a make that tells what it was asked
    checkout, data = tmp_path / "checkout", tmp_path / "shared" / "data"
    (checkout / ".ci").mkdir(parents=True)
    data.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", checkout / ".ci")
    shutil.copy(ROOT / "apt.txt", checkout)
    told = tmp_path / "bin" / "make"
    told.parent.mkdir()
    told.write_text(f'#!/bin/sh\necho "$@ $CI $NEFTUNE_TEST_DATA"\nexit {status}\n')
    told.chmod(0o755)
    for name in ("dpkg", "apt-get"):  # what the machine lacks is installed for real by CI alone
        (told.parent / name).symlink_to("/bin/true")
    env = {"PATH": f"{told.parent}:{os.environ['PATH']}"}
    # When CI runs
    ran = subprocess.run([checkout / ".ci" / "run"], env=env, capture_output=True, text=True, check=False)
    # Then it was the README's command, with the data, and the outcome is told as it was
    assert (ran.returncode, ran.stdout) == (status, f"test true {data}\n")
    assert "make test" in (ROOT / "README.md").read_text("utf-8")
