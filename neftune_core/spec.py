"""JobSpec: what was asked. Everything that decides the weights, and how the job is labelled.

The api validates bodies with this very class and the trainer reads it, so there is no twin to keep in
step. Values are frozen and refuse surprises; what is wrong is told by :mod:`neftune_core.spec_faults`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from neftune_core.presets import filled
from neftune_core.spec_secrets import FOUND, field_with_secret

SEED_MAX = 2**31 - 1
ALPHA_UNUSUAL = 15.0  # the largest strength in the paper

MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}$"
KEPT_NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
DURATION = r"^[1-9][0-9]{0,5}[smh]$"
DISPLAY = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"


def _positive_zero(value: float) -> float:
    return value + 0.0  # -0.0 would print as "-0.0" and hash apart from 0.0


def fault_at(field: str, code: str, what: str) -> PydanticCustomError:
    """Build a fault that several fields make together, to be told at one of them."""
    return PydanticCustomError(code, "{what}", {"what": what, "field": field})


def not_supported(field: str, what: str) -> PydanticCustomError:
    """Build the fault for a known option that this version does not serve yet."""
    return fault_at(field, "not_supported", what)


StrictInt = Annotated[int, Field(strict=True)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_positive_zero)]
LEAST_ALPHA = 1e-6  # below, noise drowns in the rounding of fp32, and then in nothing at all


def _measurable(alpha: float) -> float:
    """Refuse noise that no measurement could find in the model."""
    if 0 < alpha < LEAST_ALPHA:
        raise PydanticCustomError(
            "too_weak", f"Give 0, which is plain fine-tuning, or at least {LEAST_ALPHA:g}."
        )
    return alpha


Alpha = Annotated[
    Finite,
    Field(ge=0, le=100, description="NEFTune strength as in the paper, 0 or 1e-6 to 100; 0: no noise."),
    AfterValidator(_measurable),
]
ModelId = Annotated[
    str,
    StringConstraints(pattern=MODEL_ID),
    Field(description="Id of a base model the operator allows, such as org/name; never a path."),
]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=DISPLAY)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=DISPLAY)]
MetadataValue = Annotated[str, StringConstraints(max_length=512, pattern=DISPLAY)]
Template = Literal["auto", "alpaca", "vicuna", "chat", "plain"]


class Spec(BaseModel):
    """A value: frozen, and no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ValidationSpec(Spec):
    """Where held-out rows come from: another dataset, or a share of the training rows."""

    dataset: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    split: Annotated[
        Finite, Field(ge=0, le=0.5, description="Share of rows held out when no dataset is named.")
    ] = 0.05


class NoiseSpec(Spec):
    """How the noise is drawn. The defaults are the paper's; the others are experiments."""

    distribution: Literal["uniform", "gaussian", "sphere"] = "uniform"
    scale: Literal["paper", "batch_width"] = "paper"
    target: Literal["all", "prompt", "response"] = "all"
    schedule: Literal["constant", "linear_warmup", "linear_decay"] = "constant"
    clean_loss_every: Annotated[
        StrictInt, Field(ge=0, le=1_000_000, description="Steps between clean-loss measurements; 0: never.")
    ] = 10


class LoraSpec(Spec):
    """LoRA, with the names PEFT uses."""

    r: Annotated[StrictInt, Field(ge=1, le=512, description="Rank.")] = 16
    lora_alpha: Annotated[StrictInt, Field(ge=1, le=4096, description="LoRA scaling numerator.")] = 32
    lora_dropout: Annotated[Finite, Field(ge=0, lt=1)] = 0.0
    target_modules: (
        Literal["all-linear"] | Annotated[tuple[ModuleName, ...], Field(min_length=1, max_length=64)]
    ) = "all-linear"
    use_dora: Annotated[bool, Field(strict=True)] = False
    use_rslora: Annotated[bool, Field(strict=True)] = False


class QuantizationSpec(Spec):
    """How a frozen base is quantised (bitsandbytes)."""

    bits: Literal[4] = 4
    type: Literal["nf4", "fp4"] = "nf4"
    double: Annotated[bool, Field(strict=True, description="Quantise the quantisation constants too.")] = True
    compute_dtype: Literal["auto", "fp32", "bf16"] = "auto"


class EarlyStopSpec(Spec):
    """Stop when ``eval_loss`` has not improved for ``patience`` evaluations."""

    patience: Annotated[StrictInt, Field(ge=1, le=1000)]


class TrainingSpec(Spec):
    """The optimisation: how long, how fast, in what steps."""

    epochs: Annotated[Finite, Field(gt=0, le=1000)] | None = 3.0
    max_steps: Annotated[StrictInt, Field(ge=1, le=10_000_000)] | None = None
    learning_rate: Annotated[Finite, Field(ge=1e-8, le=1)] = 2e-4
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Annotated[Finite, Field(ge=0, le=1)] = 0.03
    batch_size: Annotated[StrictInt, Field(ge=1, le=4096, description="Examples per optimizer step.")] = 16
    micro_batch_size: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=4096)] = "auto"
    max_length: Annotated[StrictInt, Field(ge=8, le=131_072, description="Tokens kept of an example.")] = 512
    packing: Literal["auto", "off", "on"] = "auto"
    loss_reduction: Annotated[
        Literal["tokens", "micro_batch"],
        Field(description="Mean over a step's trained tokens, or over the means of its micro-batches."),
    ] = "tokens"
    drop_last: Annotated[
        bool, Field(strict=True, description="Leave out an epoch's last step where it is smaller.")
    ] = False
    template: Template = "auto"
    split_conversations: Annotated[
        Literal["auto", "off", "on"],
        Field(description="Make several examples of a conversation longer than max_length, at its turns."),
    ] = "auto"
    train_on: Literal["response", "all"] = "response"
    max_grad_norm: Annotated[Finite, Field(gt=0, le=1000)] | None = 1.0
    weight_decay: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    optimizer: Literal["adamw"] = "adamw"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: Literal["auto"] | Annotated[bool, Field(strict=True)] = "auto"
    seed: Annotated[StrictInt, Field(ge=0, le=SEED_MAX)] = 42
    eval_every: Annotated[StrictInt, Field(ge=1)] | Annotated[Finite, Field(gt=0, le=1)] = Field(
        0.1, description="Steps (a whole number) or a share of the run (a fraction)."
    )
    save_every: Annotated[StrictInt, Field(ge=1)] | Annotated[str, StringConstraints(pattern=DURATION)] = (
        Field("5m", description='Steps, or a duration such as "5m".')
    )
    keep_checkpoints: Annotated[StrictInt, Field(ge=1, le=100)] = 2
    early_stop: EarlyStopSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_epochs(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("max_steps") is not None and "epochs" not in given:
            return {**given, "epochs": None}
        return given

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.max_steps is None):
            raise fault_at("max_steps", "epochs_or_max_steps", "Give either epochs or max_steps, not both.")
        return self

    @model_validator(mode="after")
    def _micro_fits(self) -> Self:
        if self.micro_batch_size != "auto" and self.micro_batch_size > self.batch_size:
            raise fault_at(
                "micro_batch_size",
                "micro_batch_too_large",
                "micro_batch_size is larger than batch_size; lower it or use auto.",
            )
        return self

    @model_validator(mode="after")
    def _micro_batches_are_known(self) -> Self:
        if self.loss_reduction == "micro_batch" and self.micro_batch_size == "auto":
            raise fault_at(
                "micro_batch_size",
                "micro_batch_size_needed",
                "loss_reduction micro_batch makes the size of a micro-batch decide results; name it.",
            )
        if self.loss_reduction == "micro_batch" and self.packing == "on":
            raise fault_at(
                "packing",
                "packing_changes_loss",
                "loss_reduction micro_batch is defined for rows of one example; use packing off or auto.",
            )
        return self


class ResourcesSpec(Spec):
    """What the job may use."""

    gpus: Literal["auto"] | Annotated[StrictInt, Field(ge=0, le=1024)] = "auto"
    max_minutes: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    priority: Annotated[
        StrictInt, Field(ge=-100, le=100, description="Higher runs earlier, among the project's own jobs.")
    ] = 0

    @model_validator(mode="after")
    def _only_what_is_built(self) -> Self:
        if self.gpus != "auto" and self.gpus > 1:
            raise not_supported("gpus", "jobs over several GPUs are not served yet; use 1 or auto")
        return self


class SecretRef(Spec):
    """A secret by its name; its value never stands in a spec."""

    secret: Annotated[str, StringConstraints(pattern=KEPT_NAME)]


class JobSpec(Spec):
    """What was asked. Only ``model``, ``dataset`` and ``alpha`` matter to most users."""

    name: Annotated[str, StringConstraints(max_length=120, pattern=DISPLAY)] | None = None
    model: ModelId
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] | None = None
    hub_token: Annotated[
        SecretRef | None,
        Field(description="For a gated model: the name of the project's secret to fetch it with."),
    ] = None
    dataset: Annotated[str, Field(min_length=1, max_length=128)]
    validation: ValidationSpec = ValidationSpec()
    alpha: Alpha = 5.0
    preset: Annotated[
        Literal["paper-alpaca", "paper-qlora"] | None,
        Field(description="Fills the fields that are left out with those of the paper's experiments."),
    ] = None
    noise: NoiseSpec = NoiseSpec()
    method: Literal["lora", "qlora", "full"] = "lora"
    lora: LoraSpec = LoraSpec()
    quantization: QuantizationSpec | None = None
    training: TrainingSpec = TrainingSpec()
    init_from: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    resources: ResourcesSpec = ResourcesSpec()
    tags: Annotated[tuple[Tag, ...], Field(max_length=16)] = ()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = {}

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, given: Any) -> Any:
        if isinstance(given, dict) and (field := field_with_secret(given)) is not None:
            raise fault_at(field if field in cls.model_fields else "", "secret_in_spec", FOUND)
        return given

    @model_validator(mode="before")
    @classmethod
    def _qlora_is_quantised(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("method") == "qlora" and given.get("quantization") is None:
            return {**given, "quantization": {}}
        return given

    @model_validator(mode="before")
    @classmethod
    def _preset_fills(cls, given: Any) -> Any:
        # Written last, so it runs before the others: they judge the spec as it was filled.
        return filled(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _quantization_fits(self) -> Self:
        if self.quantization is not None and self.method != "qlora":
            raise fault_at(
                "quantization",
                "quantization_without_qlora",
                "quantization needs method qlora; leave it out or change the method.",
            )
        return self

    @model_validator(mode="after")
    def _only_what_is_built(self) -> Self:
        if self.init_from is not None:
            raise not_supported("init_from", "init_from is not served yet; start from the base")
        return self
