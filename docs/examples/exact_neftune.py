"""Fine-tune with the paper's NEFTune: python docs/examples/exact_neftune.py <model> <rows.jsonl> <folder>."""

import sys

import torch
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

from neftune_core.trl import ExactNEFTune

model, rows, folder = sys.argv[1:]
trainer = SFTTrainer(
    model,
    args=SFTConfig(folder, num_train_epochs=1, use_cpu=not torch.cuda.is_available()),
    train_dataset=load_dataset("json", data_files=rows, split="train"),
    callbacks=[ExactNEFTune(alpha=5)],
)
trainer.train()
