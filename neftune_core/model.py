"""Loading a base model from a local folder, and making it trainable.

Only safetensors are read and no code of the model's own is run. Knows transformers, PEFT and
bitsandbytes; knows nothing of rows or losses.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neftune_core.catalog import inspect_model
from neftune_core.errors import ModelError, SpecError
from neftune_core.loading import libraries
from neftune_core.spec import JobSpec, LoraSpec, QuantizationSpec

FEW_PARAMETERS = 50_000_000  # below, more than one thread or recomputed activations cost more than they give


@dataclass(frozen=True)
class Numerics:
    """Where a run computes, and in what precision."""

    device: torch.device
    dtype: torch.dtype  # of the base's parameters
    autocast: bool  # full training in bf16 keeps fp32 parameters and casts on the way
    quantization: QuantizationSpec | None

    @property
    def precision(self) -> str:
        """Name the precision as the spec does."""
        return "bf16" if self.autocast or self.dtype == torch.bfloat16 else "fp32"

    @property
    def compute_dtype(self) -> torch.dtype:
        """Give the type that quantised weights are multiplied in."""
        asked = self.quantization.compute_dtype if self.quantization else "auto"
        return {"fp32": torch.float32, "bf16": torch.bfloat16}.get(asked, self.dtype)

    def described_quantization(self) -> dict[str, object] | None:
        """Tell how the base is quantised, so that another process can load the same one."""
        if self.quantization is None:
            return None
        return {
            "bits": self.quantization.bits,
            "type": self.quantization.type,
            "double": self.quantization.double,
            "compute_dtype": str(self.compute_dtype).removeprefix("torch."),
        }


def has_gpu(spec: JobSpec) -> bool:
    """Tell whether a run computes on a GPU: this machine has one, and the spec does not decline it."""
    return spec.resources.gpus != 0 and torch.cuda.is_available()


def numerics_for(spec: JobSpec) -> Numerics:
    """Resolve what the spec leaves open by what this machine has."""
    gpu = has_gpu(spec)
    if spec.resources.gpus == 1 and not gpu:
        raise SpecError("resources.gpus asks for a GPU and this machine has none; use 0 or auto.")
    precision = spec.training.precision
    if precision == "auto":
        precision = "bf16" if gpu and torch.cuda.is_bf16_supported() else "fp32"
    half = precision == "bf16"
    full = spec.method == "full"
    return Numerics(
        # By its number: a name alone means the first GPU to some libraries, whichever this process took.
        device=torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu"),
        dtype=torch.bfloat16 if half and not full else torch.float32,
        autocast=half and full,
        quantization=spec.quantization if spec.method == "qlora" else None,
    )


def load_tokenizer(model_dir: Path) -> Any:
    """Load the model's own tokenizer; the fast form, for it tells where each token lies in the text."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - slow to import

    inspect_model(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=False, local_files_only=True)
    if not tokenizer.is_fast:
        raise ModelError("The model has no fast tokenizer (tokenizer.json); convert it once and save it.")
    return tokenizer


def check_length(model_dir: Path, max_length: int) -> None:
    """Refuse examples longer than the model has positions for."""
    from transformers import AutoConfig  # noqa: PLC0415 - slow to import

    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=False, local_files_only=True)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and max_length > limit:
        raise SpecError(
            f"training.max_length is {max_length}, but the model has {limit} positions; use at most {limit}."
        )


def load_base(model_dir: Path, numerics: Numerics) -> Any:
    """Load the base in eval mode, quantised where the numerics say so."""
    from safetensors import SafetensorError  # noqa: PLC0415 - the light half does without
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    inspect_model(model_dir)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            model_dir,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            dtype=numerics.dtype,
            quantization_config=_bitsandbytes(numerics),
            device_map={"": str(numerics.device)} if numerics.quantization else None,
        )
    except SafetensorError as error:  # cut off, or no safetensors at all: no second try makes them whole
        raise ModelError(f"The model's weights are damaged ({error}); fetch or copy them again.") from error
    if not numerics.quantization:
        model.to(numerics.device)
    let_cpu_pack(model, False)
    # A cache kept in training lets packed examples see each other, and costs memory.
    model.config.use_cache = False
    model.eval()
    return model


def let_cpu_pack(model: nn.Module, allowed: bool) -> None:
    """Allow or forbid bitsandbytes to repack 4-bit weights for the CPU at the next evaluation pass.

    It repacks in place where the CPU has bf16 instructions, and backward passes then read the new layout
    as if it were the old one: silently wrong gradients. So it is forbidden while training goes on, and
    allowed for the last forward passes, which then compute what any other program computes.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = allowed and _cpu_packs()


def _cpu_packs() -> bool:
    from bitsandbytes import functional  # noqa: PLC0415 - slow to import

    return bool(functional.has_avx512bf16())  # type: ignore[no-untyped-call]  # bitsandbytes'


def _bitsandbytes(numerics: Numerics) -> Any:
    if numerics.quantization is None:
        return None
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - slow to import

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers'
        load_in_4bit=True,
        bnb_4bit_quant_type=numerics.quantization.type,
        bnb_4bit_use_double_quant=numerics.quantization.double,
        bnb_4bit_compute_dtype=numerics.compute_dtype,
    )


def make_trainable(base: Any, spec: JobSpec) -> Any:
    """Give the model that trains: the base itself, or the frozen base with a fresh adapter in fp32."""
    if spec.method == "full":
        base.requires_grad_(True)
        return base
    check_lora(base, spec.lora)
    return add_fresh_adapter(base, "default", spec.lora)


def add_fresh_adapter(model: Any, name: str, lora: LoraSpec) -> Any:
    """Put a fresh adapter on a base, or beside those that are on it already."""
    with libraries(before_all=False):
        from peft import LoraConfig, PeftModel, get_peft_model  # noqa: PLC0415 - slow to import

    targets = lora.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_dora=lora.use_dora,
        use_rslora=lora.use_rslora,
    )
    with _peft_speaks_old_names():
        try:
            if isinstance(model, PeftModel):
                model.add_adapter(name, config)
                return model
            return get_peft_model(model, config, adapter_name=name)
        except ValueError as error:  # state-space models have modules that an adapter can't sit on
            raise SpecError(
                f"PEFT can't put this adapter on the model; name lora.target_modules yourself. {error}"
            ) from error


def load_adapter(base: Any, adapter: Path) -> Any:
    """Put a saved adapter on a base, for answering."""
    return add_adapter(base, "default", adapter)


def add_adapter(model: Any, name: str, adapter: Path) -> Any:
    """Put a saved adapter on a base, or beside those that are on it already; for answering."""
    with libraries(before_all=False):
        from peft import PeftModel  # noqa: PLC0415 - slow to import

    with _peft_speaks_old_names():
        if isinstance(model, PeftModel):
            model.load_adapter(str(adapter), name)
            return model.eval()
        return PeftModel.from_pretrained(model, str(adapter), adapter_name=name).eval()


@contextmanager
def _peft_speaks_old_names() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5.23 under a name that warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


def hush_libraries() -> None:
    """Let libraries speak only of errors: bitsandbytes misses a kernel at import that nobody asked for."""
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415 - slow to import

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers'


def check_lora(base: Any, lora: LoraSpec) -> None:
    """Refuse modules the model does not have, and a rank above its width."""
    known = _adaptable(base)
    if not isinstance(lora.target_modules, str):
        for target in lora.target_modules:
            if not any(name == target or name.endswith(f".{target}") for name in known):
                last_parts = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
                raise SpecError(f"lora.target_modules names a module the model lacks; it has {last_parts}.")
    width = int(base.get_input_embeddings().weight.shape[-1])
    if lora.r > width:
        raise SpecError(f"lora.r is {lora.r}, but the model is {width} wide; a rank above that adds nothing.")


def _adaptable(base: nn.Module) -> list[str]:
    from transformers.pytorch_utils import Conv1D  # noqa: PLC0415 - slow to import

    return [
        name for name, module in base.named_modules() if isinstance(module, nn.Linear | Conv1D | nn.Embedding)
    ]


def is_small(base: nn.Module) -> bool:
    """Tell whether threads and recomputed activations cost more than they give."""
    return sum(parameter.numel() for parameter in base.parameters()) < FEW_PARAMETERS


def recompute_activations(base: Any, spec: JobSpec, numerics: Numerics) -> bool:
    """Turn gradient checkpointing on where it was asked for or memory wants it; tell whether."""
    asked = spec.training.gradient_checkpointing
    wanted = (numerics.device.type == "cuda" and not is_small(base)) if asked == "auto" else asked
    if wanted:
        base.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return wanted
