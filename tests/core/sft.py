"""Somebody else's trainer for tests: TRL's SFTTrainer on a tiny model, and a witness at its first layer."""

import atexit
import shutil
import tempfile

import torch
from datasets import Dataset
from transformers import DataCollatorWithFlattening, LlamaConfig, LlamaForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from tests.core.tiny import CONFIG, make_tokenizer

_OUTPUTS = tempfile.mkdtemp(prefix="sft-")
atexit.register(shutil.rmtree, _OUTPUTS, ignore_errors=True)

# Each example begins with a token of its own, so it is found again in any row.
_FIRST = 280


def rows_of(*lengths, first=_FIRST):
    """Make examples of these lengths; the first token tells which it is and occurs nowhere else."""
    return [
        [first + row, *(5 + (7 * row + 3 * place) % 200 for place in range(length - 1))]
        for row, length in enumerate(lengths)
    ]


ROWS = rows_of(30, 8, 20, 12, 9, 25, 14, 10)


def tiny_model(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**{**CONFIG, "num_hidden_layers": 1, **config}))


def arguments(**changed):
    """Give arguments for a short fp32 run on the CPU that logs each step and shuffles nothing."""
    return SFTConfig(
        **{
            "output_dir": tempfile.mkdtemp(dir=_OUTPUTS),
            "use_cpu": True,
            "bf16": False,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "train_sampling_strategy": "sequential",
            "num_train_epochs": 1,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "gradient_checkpointing": False,
            "max_length": 512,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            **changed,
        }
    )


def sft(rows, *callbacks, model=None, trainer=SFTTrainer, collator=None, eval_rows=None, **changed):
    """Make a trainer on token rows, all of whose tokens are trained."""
    return trainer(
        model=tiny_model() if model is None else model,
        processing_class=make_tokenizer(),
        data_collator=collator,
        train_dataset=_dataset(rows),
        eval_dataset=None if eval_rows is None else _dataset(eval_rows),
        args=arguments(**changed),
        callbacks=list(callbacks),
    )


def _dataset(rows):
    return Dataset.from_dict({"input_ids": rows, "labels": rows})


def losses(trainer):
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def flattening():
    return DataCollatorWithFlattening(return_tensors="pt")


class Does(TrainerCallback):
    """Does something at an event of the trainer."""

    def __init__(self, event, what):
        setattr(self, event, lambda _args, state, _control, model=None, **_: what(model, state))


class Witness:
    """Sees at the first layer's input what came of each pass's tokens.

    ``passes`` holds (token ids, noise, whether it was a learning pass): the noise is what the layer was given
    less the embedding's own rows.
    """

    def __init__(self, model):
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.passes = []
        self._ids = None
        backbone = self.model.model
        backbone.register_forward_pre_hook(self._called, with_kwargs=True)
        backbone.layers[0].register_forward_pre_hook(self._reached, with_kwargs=True)

    def _called(self, _module, _args, kwargs):
        self._ids = kwargs["input_ids"]

    def _reached(self, module, args, kwargs):
        given = (args[0] if args else kwargs["hidden_states"]).detach().clone()
        clean = self.model.get_input_embeddings().weight.detach()[self._ids]
        if self._ids.flatten().tolist() == list(range(8)):
            return  # our own look at what the model does between embedding and layer
        learning = torch.is_grad_enabled() and module.training
        self.passes.append((self._ids, given - clean, learning, given))

    @property
    def noised(self):
        return [bool(noise.count_nonzero()) for _, noise, _, _ in self.passes]

    def of(self, row, which=3):
        """Give what the first layer was given of the example (``which=1``: its noise), pass by pass."""
        found = []
        for seen in self.passes:
            for line, column in (seen[0] == row[0]).nonzero().tolist():
                assert seen[0][line, column : column + len(row)].tolist() == row
                found.append(seen[which][line, column : column + len(row)])
        return found

    def elsewhere(self, rows):
        """Give the largest noise outside these examples: on pads."""
        total = sum(float(noise.double().square().sum()) for _, noise, _, _ in self.passes)
        within = sum(float(noise.double().square().sum()) for row in rows for noise in self.of(row, which=1))
        return abs(total - within)
