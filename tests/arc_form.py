"""An operator's folder of benchmarks: a task in ARC's form as YAML, its questions in a file beside it."""

import json
import random
from pathlib import Path

WORDS = [
    "amber",
    "barn",
    "cedar",
    "dune",
    "ember",
    "fern",
    "gull",
    "harbour",
    "inlet",
    "jetty",
    "kelp",
    "lantern",
    "moss",
    "otter",
    "pier",
    "quay",
]
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {name}.jsonl
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices.label.index(answerKey)}}}}"
doc_to_choice: "{{{{choices.text}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def lay_out(folder: Path, name: str = "lighthouse", questions: int = 20) -> Path:
    """Write the task and its questions; answers are chosen by chance, so that models differ."""
    rng = random.Random(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(TASK.format(name=name))
    with (folder / f"{name}.jsonl").open("w") as file:
        for number in range(questions):
            choices = [" ".join(rng.sample(WORDS, rng.randint(1, 4))) for _ in range(4)]
            row = {
                "id": f"{name}-{number}",
                "question": f"What did the keeper carry on day {number}?",
                "choices": {"text": choices, "label": ["A", "B", "C", "D"]},
                "answerKey": rng.choice("ABCD"),
            }
            file.write(json.dumps(row) + "\n")
    return folder
