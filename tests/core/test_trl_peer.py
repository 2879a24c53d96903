"""At alpha 0 the own loop is the peer's: the same losses as TRL's SFTTrainer, step by step."""

import pytest
import torch

from neftune_core import train
from neftune_core.batches import steps
from neftune_core.model import load_tokenizer
from neftune_core.prompts import render
from neftune_core.tokenise import prepare
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec


@pytest.mark.filterwarnings("ignore")
def test_alpha_zero_losses_equal_those_of_sft_trainer(tmp_path):
    from datasets import Dataset  # noqa: PLC0415 - slow to import
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - slow to import

    torch.set_num_threads(1)
    base = make_base(tmp_path / "base")
    rows = make_rows(24)

    # Given the examples in the order of our plan
    tokenizer = load_tokenizer(base)
    rendered = ((number, render(row, "chat", tokenizer)) for number, row in enumerate(rows))
    walked = steps(prepare(rendered, tokenizer, 128).examples, batch_size=8, total_steps=6, seed=42)
    examples = [example for step in walked for example in step.examples]
    dataset = Dataset.from_list(
        [
            {"input_ids": example.ids.tolist(), "completion_mask": example.trained.astype(int).tolist()}
            for example in examples
        ]
    )

    # When the peer trains on them, with two micro-batches a step
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        processing_class=tokenizer,
        train_dataset=dataset,
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"),
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            train_sampling_strategy="sequential",
            max_steps=6,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            weight_decay=0.0,
            gradient_checkpointing=False,
            max_length=128,
            completion_only_loss=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.train()
    peers = [told["loss"] for told in trainer.state.log_history if "loss" in told]

    # Then both paid the same for every step
    notebook = Notebook()
    spec = make_spec(alpha=0.0, method="full", training={"max_steps": 6})
    train.run(spec, rows, (), tmp_path / "ours", base, notebook, Never())
    assert notebook.series("train_loss") == pytest.approx(peers, abs=1e-6, rel=0)
