"""The demo told from beginning to end, over plain REST: the one thing this package is for.

Every step checks what it got; the first that is not as it should be ends the demo with a sentence.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from neftune_client.archive import unpack
from neftune_client.cli.screen import watch
from neftune_client.client import Client
from neftune_client.curve import Curve
from neftune_client.errors import ClientError
from standalone.demo import answers, dataset
from standalone.errors import DemoFailed

MODEL = "neftune/demo-base"
MODEL_DIR = Path(__file__).parent.parent / "models" / MODEL
ALPHA = 5.0
NO_PATIENCE_S = 0.0  # the service is on this machine, and just came up
FOLDER = "adapter"
_NEEDED = ("adapter_config.json", "adapter_model.safetensors")
_LOG_LINES = 30


def spec(dataset_id: str) -> dict[str, Any]:
    """Write the job: a small LoRA with the paper's noise."""
    return {
        "name": "lighthouse keeper",
        "model": MODEL,
        "dataset": dataset_id,
        "alpha": ALPHA,
        "noise": {"clean_loss_every": 5},
        "lora": {"r": 16, "lora_alpha": 32},
        "training": {
            "epochs": 10,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "max_length": 256,
            "eval_every": 0.2,
            "seed": 42,
        },
    }


def tell(base_url: str, api_key: str, out_dir: Path, console: Console, stopping: Callable[[], bool]) -> int:
    """Run the main job against a running service; 0 if all went well, else 1 and why."""
    began = time.monotonic()
    try:
        with Client(base_url, api_key, patience_s=NO_PATIENCE_S) as client:
            _chapters(client, Path(out_dir), console, stopping)
    except (ClientError, DemoFailed) as failure:
        if stopping():  # by Ctrl-C: whoever pressed it knows why
            return 1
        console.print(f"\nThe demo failed: {failure}", style="red", markup=False, highlight=False)
        return 1
    _say(console, f"\nDone in {time.monotonic() - began:.0f} s.")
    return 0


def _chapters(client: Client, out: Path, console: Console, stopping: Callable[[], bool]) -> None:
    client.wait_ready()
    rows = client.upload(dataset.PATH, "lighthouse keeper")
    _say(console, f"\n1. Dataset {rows['id']}: {rows['rows']} rows, sha256 {rows['sha256']}")
    job = client.submit(spec(rows["id"]))
    _say(console, f"2. Job {job['id']}: LoRA on {MODEL}, alpha {ALPHA:g}; a worker takes it")
    curve = watch(client.follow(job["id"], stopping=stopping), console)
    _succeeded(client, job["id"], curve)
    _noise(curve, console)
    folder = _adapter(client, job["id"], out / job["id"], console)
    _say(console, "\n5. The same questions, none of them in the dataset; greedy, noise off")
    asked = [question for question, *_ in dataset.HELD_OUT]
    answered = answers.ask(MODEL_DIR, folder, asked)
    answers.side_by_side(answered, console)
    _differ(answered)
    _how_to_load(folder, console)


def _succeeded(client: Client, job_id: str, curve: Curve) -> None:
    if curve.status == "succeeded":
        return
    error = client.job(job_id)["error"] or {"code": curve.status, "detail": "it was stopped"}
    tail = "\n".join(_log(client, job_id).splitlines()[-_LOG_LINES:])
    raise DemoFailed(
        f"the job ended {curve.status}: {error['code']}: {error['detail']}\n"
        f"The end of its log:\n{tail or '(empty)'}"
    )


def _log(client: Client, job_id: str) -> str:
    try:
        return client.log(job_id)
    except ClientError:
        return ""


def _noise(curve: Curve, console: Console) -> None:
    seen = curve.verified
    if not seen:
        raise DemoFailed("the run did not prove its noise (no event neftune.verified).")
    _say(
        console,
        f"3. Noise: alpha {seen['alpha']:g} asked, {seen['effective_alpha']:.3f} measured "
        f"on {seen['examples']} examples; {seen['noise_ratio']:.2f} of the embeddings' size, "
        f"{seen['noise_on_pads']:g} on pads",
    )
    ended, base = curve.latest.get("eval_loss"), curve.base_eval_loss
    if ended is not None and base is not None:
        _say(console, f"   Held-out loss: {base:.4f} before, {ended:.4f} after")


def _adapter(client: Client, job_id: str, out: Path, console: Console) -> Path:
    """Fetch the adapter, compare its hash with tag and listing, unpack it."""
    out.mkdir(parents=True, exist_ok=True)
    listed = client.artifacts(job_id)
    if "adapter" not in listed:
        raise DemoFailed(f"the job succeeded without an adapter; it has {', '.join(listed) or 'nothing'}.")
    got = client.download(job_id, "adapter", out / "adapter.tar")
    if got.sha256 != listed["adapter"]["sha256"]:
        raise DemoFailed(f"adapter: sha256 {got.sha256}, but the listing says {listed['adapter']['sha256']}.")
    files = unpack(got.path, out / FOLDER)
    if missing := [name for name in _NEEDED if out / FOLDER / name not in files]:
        raise DemoFailed(f"adapter.tar lacks {', '.join(missing)}.")
    _say(console, f"4. Adapter: {got.bytes:,} bytes, {len(files)} files, equal to ETag and listing")
    _say(console, f"   sha256 {got.sha256}")
    return out / FOLDER


def _differ(answered: list[answers.Answered]) -> None:
    if all(one.base == one.tuned for one in answered):
        raise DemoFailed("base and tuned model answer alike: the adapter changes nothing.")


def _how_to_load(folder: Path, console: Console) -> None:
    _say(console, f"\nThe adapter lies in {folder}\nIt loads with plain PEFT:\n")
    for line in (
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'base = AutoModelForCausalLM.from_pretrained("{MODEL_DIR}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")',
        f'model = PeftModel.from_pretrained(base, "{folder}")',
    ):
        _say(console, f"    {line}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
