"""Merging: an adapter becomes part of its base's weights, and the result is proved before it is told.

The base is loaded anew in full precision, also where the adapter was trained on a quantised one: adding to
4-bit weights changes what the model says. Merged in fp32 on the CPU, stored in the type of the base's own
weights, read back as anybody would, and held against base and adapter on the probe of the record.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neftune_core import messages
from neftune_core.errors import ExportMismatch, SpecError
from neftune_core.export import hashes
from neftune_core.failpoint import failpoint
from neftune_core.loading import libraries
from neftune_core.runner import Hearer, StopFlag, find_base
from neftune_core.runner import told as spoken
from neftune_core.spec import JobSpec
from neftune_core.surroundings import hardware, versions

FOLDER = "merged"
# Of the largest logit, at least of 1. The sums of fp32 differ in their order; what is stored in half
# precision has each weight rounded once.
EXACT = 1e-5
ROUNDED = {"float32": EXACT, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(frozen=True)
class Merge:
    """What the command line named."""

    record: Path
    adapter: Path
    out: Path
    model_dir: Path | None = None


@dataclass(frozen=True)
class Proof:
    """How far the logits of the probe moved, and how far they may."""

    dtype: str
    merged_difference: float
    merged_tolerance: float
    stored_difference: float
    stored_tolerance: float


def export_job(errand: Merge, report_fd: int | None) -> int:
    """Merge and give the exit status; whatever goes wrong is told before."""
    return spoken(errand.out, report_fd, lambda _, reporter, stop: _export(errand, reporter, stop))


def _export(errand: Merge, reporter: Hearer, stop: StopFlag) -> int:
    record = _record(errand.record)
    spec = JobSpec.model_validate(record["spec"])
    base = errand.model_dir or find_base(spec)
    _refuse_another_base(base, record)
    errand.out.mkdir(parents=True, exist_ok=True)
    merged = _Merging(spec, record, base, errand, reporter, stop).whole()
    if merged is None:
        return messages.EXIT_STOPPED
    folder, proof = merged
    path = errand.out / "record.json"
    path.write_text(json.dumps(_told(spec, record, folder, proof), indent=2, allow_nan=False) + "\n", "utf-8")
    reporter.artifact(FOLDER, folder)
    reporter.artifact("record", path)
    reporter.event("export.completed", asdict(proof))
    return messages.EXIT_OK


def _record(path: Path) -> dict[str, Any]:
    """Read the record of the run that trained the adapter."""
    try:
        record = json.loads(path.read_bytes())
        JobSpec.model_validate(record["spec"])
        ids = record["probe"]["input_ids"]
    except (ValueError, KeyError, TypeError) as error:
        reason = "its spec is not one of this version" if isinstance(error, ValidationError) else "it is none"
        raise SpecError(f"{path.name} should be the record.json of a training run; {reason}.") from error
    if not isinstance(ids, list) or not ids or not all(isinstance(one, int) for one in ids):
        raise SpecError(f"{path.name} has no probe, by which a merge could be proved.")
    found: dict[str, Any] = record
    return found


def _refuse_another_base(base: Path, record: Mapping[str, Any]) -> None:
    """Hold the base at hand against the one that was trained on, by its weights."""
    trained_on = record.get("model", {}).get("files", {})
    weights = {name: digest for name, digest in trained_on.items() if name.endswith(".safetensors")}
    if not weights:
        return
    found = hashes(base)
    if any(found.get(name) != digest for name, digest in weights.items()):
        raise ExportMismatch(
            "The base at hand is not the one the adapter was trained on: its weights are others."
        )


class _Merging:
    """One merge, from the base to the folder that was proved."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is merged, from where, and who hears of it
        self,
        spec: JobSpec,
        record: Mapping[str, Any],
        base: Path,
        errand: Merge,
        reporter: Hearer,
        stop: StopFlag,
    ) -> None:
        self._spec = spec
        self._record = record
        self._base = base
        self._errand = errand
        self._reporter = reporter
        self._stop = stop

    def whole(self) -> tuple[Path, Proof] | None:
        """Load, merge, store, read back; nothing when somebody wanted it to stop."""
        with libraries(before_all=True):
            import torch  # noqa: PLC0415 - after all that may refuse

            from neftune_core import model  # noqa: PLC0415 - as above

        model.hush_libraries()
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
        numerics = model.Numerics(torch.device("cpu"), torch.float32, autocast=False, quantization=None)
        self._reporter.event("export.loading", {"model": self._spec.model})
        base = model.load_base(self._base, numerics)
        dtype = _stored_dtype(self._base)
        tuned = model.load_adapter(base, self._errand.adapter)
        wanted = self._logits(tuned)
        if self._stop.requested():
            return None
        merged = tuned.merge_and_unload(safe_merge=True)
        in_memory = _difference(self._logits(merged), wanted, EXACT, "merged")
        failpoint("export.merged")
        if self._stop.requested():
            return None
        folder = self._save(merged.to(getattr(torch, dtype)), dtype)
        del base, tuned, merged
        read_back = self._logits(model.load_base(folder, numerics))
        stored = _difference(read_back, wanted, ROUNDED[dtype], "stored")
        return folder, Proof(dtype, *in_memory, *stored)

    def _logits(self, model: Any) -> list[float]:
        """Give all logits after the probe's last token; more of them show more."""
        import torch  # noqa: PLC0415 - as above

        with torch.no_grad():
            ids = torch.tensor([self._record["probe"]["input_ids"]])
            told: list[float] = model(input_ids=ids, use_cache=False).logits[0, -1].float().tolist()
        return told

    def _save(self, merged: Any, dtype: str) -> Path:
        from neftune_core import model  # noqa: PLC0415 - as above

        folder = self._errand.out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        merged.config.use_cache = True  # off only while training
        merged.save_pretrained(folder)
        model.load_tokenizer(self._base).save_pretrained(folder)
        (folder / "README.md").write_text(_card(self._spec, dtype), encoding="utf-8")
        return folder


def _stored_dtype(base: Path) -> str:
    """Name the type that the base's own weights are stored in; what is not told is kept in full."""
    config = json.loads((base / "config.json").read_bytes())
    named = config.get("dtype") or config.get("torch_dtype")
    return named if named in ROUNDED else "float32"


def _difference(
    found: Sequence[float], wanted: Sequence[float], share: float, what: str
) -> tuple[float, float]:
    """Give the largest difference and what it may be; refuse more, and what is no number."""
    tolerance = share * max(1.0, *map(abs, wanted))
    difference = max(abs(one - other) for one, other in zip(found, wanted, strict=True))
    if not difference <= tolerance:  # also NaN
        raise ExportMismatch(
            f"The {what} model's logits differ by {difference:.3g} from those of base and adapter, where "
            f"{tolerance:.3g} is allowed; nothing is published. Use the adapter, and report the family."
        )
    return difference, tolerance


def _told(spec: JobSpec, record: Mapping[str, Any], folder: Path, proof: Proof) -> dict[str, Any]:
    return {
        "export": FOLDER,
        "spec": spec.model_dump(mode="json"),
        "model": record.get("model"),
        "versions": versions(),
        "hardware": hardware(),
        "probe": record["probe"],
        "proof": asdict(proof),
        "artifact": {"name": FOLDER, "files": hashes(folder)},
    }


def _card(spec: JobSpec, dtype: str) -> str:
    return f"""---
base_model: {spec.model}
library_name: transformers
pipeline_tag: text-generation
tags: [neftune, {spec.method}, merged]
---

# {spec.model}, fine-tuned with NEFTune (alpha {spec.alpha:g}), merged

| | |
|---|---|
| method | {spec.method} |
| alpha | {spec.alpha:g} |
| seed | {spec.training.seed} |
| stored as | {dtype} |

The adapter was added to the base's weights in full precision and the result held against base and adapter.

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("<this folder>")
```
"""
