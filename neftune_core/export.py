"""What users came for: an adapter folder for plain PEFT, or a model folder for plain transformers.

Knows file formats and the model card; nothing pickled is written.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neftune_core.spec import JobSpec


def save(model: Any, tokenizer: Any, spec: JobSpec, out: Path, card: str) -> tuple[str, Path]:
    """Write the result with its model card under ``out`` and give its kind and folder."""
    kind = kind_of(spec)
    folder = out / kind
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "model":
        model.config.use_cache = True  # off only while training
        model.save_pretrained(folder)
    else:
        # "auto" would look for the base's config on the hub; an adapter never carries embeddings of its own.
        model.save_pretrained(folder, save_embedding_layers=False)
        _settle(folder / "adapter_config.json", spec)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return kind, folder


def save_best(model: Any, spec: JobSpec, out: Path) -> Path:
    """Write the adapter that the model has now as the best one, and give its folder."""
    folder = out / "best"
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    _settle(folder / "adapter_config.json", spec)
    (folder / "README.md").unlink(missing_ok=True)  # the library's own, which tells nothing
    return folder


def _settle(path: Path, spec: JobSpec) -> None:
    """Name the base by its id, as its local folder means nothing elsewhere, and put names in one order.

    PEFT keeps the modules as a set, whose order differs from process to process; the same run is to leave
    the same bytes.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = spec.model
    config["revision"] = spec.revision
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def kind_of(spec: JobSpec) -> str:
    """Name what the spec's method leaves: an adapter, or a whole model."""
    return "model" if spec.method == "full" else "adapter"


def card(spec: JobSpec, facts: Mapping[str, object], report: str) -> str:
    """Write the model card: what this is, how it was made, what it pays, how to load it."""
    kind = kind_of(spec)
    load = 'model = AutoModelForCausalLM.from_pretrained("<this folder>")'
    if kind == "adapter":
        load = (
            f'base = AutoModelForCausalLM.from_pretrained("{spec.model}")\n'
            'model = PeftModel.from_pretrained(base, "<this folder>")'
        )
    imports = "from peft import PeftModel\n" if kind == "adapter" else ""
    library = "peft" if kind == "adapter" else "transformers"
    told = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""---
base_model: {spec.model}
library_name: {library}
pipeline_tag: text-generation
tags: [neftune, {spec.method}]
---

# {kind.capitalize()} of {spec.model}, fine-tuned with NEFTune (alpha {spec.alpha:g})

| | |
|---|---|
| method | {spec.method} |
| alpha | {spec.alpha:g} |
| seed | {spec.training.seed} |
{told}

Losses with noise and dropout off. Best is the step with the lowest held-out loss; saved here is the last.

{report}

```python
{imports}from transformers import AutoModelForCausalLM

{load}
```

The noise was added to the token embeddings in training only; this {kind} needs nothing but {library} to run.
"""


def hashes(folder: Path) -> dict[str, str]:
    """Give the sha256 of each file of a folder by its relative name."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
