"""The README's way with `neftune`, for real: rows in, a trained adapter out, loaded as the pages say."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from neftune_client.config import announced
from standalone.demo import dataset as demo
from tests.standalone.instance import running
from tests.standalone.processes import ROOT

BASE = ROOT / "standalone" / "models" / "neftune" / "demo-base"
SHORT = ("--set", "training.max_steps=4", "--set", "training.batch_size=4", "--set", "training.eval_every=2")


def python_of(page: str) -> str:
    """The first Python example of a page, with the base model's place put in."""
    found = re.search(r"^```python\n(from peft.*?)^```$", (ROOT / page).read_text("utf-8"), re.M | re.S)
    assert found, page
    return re.sub(r'"(path/to/the/base|standalone/models/neftune/demo-base)"', repr(str(BASE)), found[1])


def generated(home: Path, env: dict[str, str], jobs: str) -> str:
    """Run the API's example of asking base and tuned model."""
    found = re.search(
        r"^### `POST /generate`.*?^```sh\n(.*?)^```$", (ROOT / "docs/api.md").read_text(), re.M | re.S
    )
    assert found
    access = announced({"NEFTUNE_HOME": str(home)})
    assert access is not None
    own = {"NEFTUNE_URL": access.url, "NEFTUNE_API_KEY": access.key, "JOB": json.loads(jobs)[0]["id"]}
    command = ["bash", "-euc", f'curl() {{ command curl --fail-with-body "$@"; }}\n{found[1]}']
    return subprocess.run(
        command, env=env | own, capture_output=True, text=True, check=True, timeout=120
    ).stdout


@pytest.mark.long
def test_rows_become_an_adapter_that_loads_in_plain_peft(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(demo.PATH.read_bytes())
    home = Path(tempfile.mkdtemp(prefix="neftune-e2e-"))
    env = {name: value for name, value in os.environ.items() if "NEFTUNE" not in name}
    env |= {"NEFTUNE_HOME": str(home), "XDG_CONFIG_HOME": str(tmp_path / "config"), "HF_HUB_OFFLINE": "1"}

    def neftune(*words: str) -> str:
        command = [sys.executable, "-m", "neftune_client", *words]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    try:
        with running(home):
            # When rows are submitted and watched, without any setting
            said = neftune("submit", "rows.jsonl", "--alpha", "5", *SHORT, "--watch")
            # Then the losses were told, and the noise was measured to be what was asked
            assert re.search(
                r"step    4/4  loss \(with noise\) \d\.\d+  clean loss \d\.\d+  held-out loss", said
            )
            assert re.search(r"alpha 5 asked, (4\.9|5\.0)\d+ measured on \d+ examples", said)
            # And what is taken home loads as the pages say
            neftune("download", "last")
            neftune("download", "last", "-o", ".")
            for page in ("README.md", "docs/quickstart.md"):
                subprocess.run(
                    [sys.executable, "-c", python_of(page)], env=env, cwd=tmp_path, check=True, timeout=120
                )
            # And answers beside its base, as the API's page asks
            answered = json.loads(generated(home, env, neftune("jobs", "--json")))
            assert [one["finish_reason"] in {"stop", "length"} for one in answered["answers"]] == [True, True]
            # A real sweep is compared on losses without noise
            words = ("--alpha", "5", "--seed", "1", *SHORT, "--watch", "--json")
            judged = json.loads(neftune("sweep", "rows.jsonl", *words).splitlines()[-1])["data"]
            (line,) = judged["verdict"]["alphas"]
            assert (judged["status"], judged["verdict"]["reasons"]) == ("succeeded", ["too_few_seeds"])
            assert (line["alpha"], line["to_last"]["pairs"]) == (5.0, 1)
            control, noisy = (one["eval_loss"] for one in judged["results"])
            assert abs(line["to_last"]["mean"] - (noisy - control)) < 1e-9
            assert judged["cost"] | {"seconds": 0} == {
                "runs": 2,
                "grid_runs": 2,
                "saved_runs": 0,
                "seconds": 0,
            }
    finally:
        shutil.rmtree(home, ignore_errors=True)
