"""Load a downloaded result as anybody would: plain transformers and PEFT, none of our code.

    python plain_probe.py REQUESTS.json

Each request of the list names the base's folder, the adapter's folder (or null), the probe's ids, the dtype
and the quantisation as `record.probe` tells them. Prints the first eight logits of base and tuned model of
each: loading the libraries takes longer than any of them.
"""

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def main(request: dict) -> dict:
    torch.set_num_threads(1)
    options = {"dtype": getattr(torch, request["dtype"]), "use_safetensors": True}
    if quantization := request["quantization"]:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization["type"],
            bnb_4bit_use_double_quant=quantization["double"],
            bnb_4bit_compute_dtype=getattr(torch, quantization["compute_dtype"]),
        )
        options["device_map"] = {"": "cpu"}
    model = AutoModelForCausalLM.from_pretrained(request["base"], **options).eval()
    if request["adapter"]:
        # Before any forward pass: one lets bitsandbytes repack 4-bit weights on some CPUs, and PEFT then
        # rounds the adapter to the packed weights' bf16.
        model = PeftModel.from_pretrained(model, request["adapter"]).eval()
    ids = torch.tensor([request["input_ids"]])
    with torch.no_grad():
        with model.disable_adapter() if request["adapter"] else nullcontext():
            base = model(input_ids=ids).logits[0, -1, :8].float().tolist()
        tuned = model(input_ids=ids).logits[0, -1, :8].float().tolist()
    ours = [name for name in sys.modules if name.split(".")[0] in {"neftune_core", "neftune_store", "worker"}]
    return {"base": base, "tuned": tuned, "ours": ours}


if __name__ == "__main__":
    print(json.dumps([main(one) for one in json.loads(Path(sys.argv[1]).read_text())]))  # noqa: T201 - its answer
