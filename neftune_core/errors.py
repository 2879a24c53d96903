"""The tree of things that go wrong in the core.

    CoreError
    ├── SpecError              invalid_spec
    │   └── PromptTooLong      prompt_too_long
    ├── DatasetError           dataset_error
    │   ├── InvalidDataset     dataset_invalid      these six stand in rows_faults, where rows are read
    │   ├── EmptyDataset       dataset_empty
    │   ├── WrongEncoding      dataset_encoding
    │   ├── UnknownFormat      dataset_format
    │   ├── DatasetTooLarge    dataset_too_large
    │   ├── UnsupportedMedia   unsupported_media
    │   ├── NoTrainableTokens  no_trainable_tokens
    │   └── TemplateError      template_error
    ├── ModelError             model_error
    │   ├── ModelNotAvailable  model_not_available
    │   ├── CustomCode         custom_code
    │   ├── UnsafeWeights      unsafe_weights
    │   └── ModelDownload      model_download (retryable)
    ├── NotAlpacaEval          alpaca_eval_invalid  stands in evaluate.judge.alpaca_eval
    └── RunError               internal
        ├── NonFiniteLoss      nan_loss
        ├── OutOfMemory        cuda_oom
        ├── DiskFull           disk_full_work
        ├── NeftuneMisapplied  neftune_misapplied
        ├── CheckpointDamaged  checkpoint_corrupt
        ├── CheckpointMismatch checkpoint_mismatch
        ├── ExportMismatch     export_mismatch
        ├── BenchmarkUnavailable  benchmark_unavailable
        ├── RanksDiffer        ranks_differ
        ├── RankLost           rank_lost (retryable)
        └── SupervisorLost     worker_lost (retryable)

A leaf has a stable ``code``; its message names the thing and the way out. No HTTP status here:
the api maps codes at its edge, the supervisor keeps them with the job.
"""

from collections.abc import Sequence
from typing import ClassVar


class CoreError(Exception):
    """Something the core refuses or could not do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class SpecError(CoreError):
    """The job spec asks for something that makes no sense for its model or data."""

    code = "invalid_spec"


class PromptTooLong(SpecError):
    """The prompt leaves the model no room for an answer."""

    code = "prompt_too_long"


class DatasetError(CoreError):
    """The rows can't be used as they are."""

    code = "dataset_error"


class NoTrainableTokens(DatasetError):
    """No token is left to train on (every answer was cut off or none exists)."""

    code = "no_trainable_tokens"


class TemplateError(DatasetError):
    """The chosen template cannot render these rows."""

    code = "template_error"


class ModelError(CoreError):
    """The base model can't be used. ``place``: where what was asked for names it."""

    place: Sequence[str] = ("model",)

    code = "model_error"


class ModelNotAvailable(ModelError):
    """The model is not on the allow-list, or not at hand."""

    code = "model_not_available"


class CustomCode(ModelError):
    """The model wants to run code of its own (``auto_map``)."""

    code = "custom_code"


class UnsafeWeights(ModelError):
    """The model has only pickled weights; only safetensors are loaded."""

    code = "unsafe_weights"


class ModelDownload(ModelError):
    """The hub did not give us the model this time."""

    code = "model_download"
    retryable = True


class RunError(CoreError):
    """A run stopped by itself."""


class NonFiniteLoss(RunError):
    """Loss or gradient norm was NaN or infinite too many steps in a row."""

    code = "nan_loss"


class OutOfMemory(RunError):
    """The device had no memory left for a step."""

    code = "cuda_oom"


class DiskFull(RunError):
    """The disk of the output folder has no room for a checkpoint."""

    code = "disk_full_work"


class NeftuneMisapplied(RunError):
    """The noise measured in the first steps is not the noise that was asked for."""

    code = "neftune_misapplied"


class CheckpointDamaged(RunError):
    """A checkpoint is not byte for byte what was written, and no older one is whole."""

    code = "checkpoint_corrupt"


class CheckpointMismatch(RunError):
    """A checkpoint belongs to another run: other options, rows or another base model."""

    code = "checkpoint_mismatch"


class ExportMismatch(RunError):
    """What was merged does not compute what base and adapter compute, or its base is another one."""

    code = "export_mismatch"


class BenchmarkUnavailable(RunError):
    """A benchmark can't be measured here: no such task, or no data for it."""

    code = "benchmark_unavailable"


class RanksDiffer(RunError):
    """The processes of one job do not have the same spec, rows or first weights."""

    code = "ranks_differ"


class RankLost(RunError):
    """Another process of the same job ended, or answers no more."""

    code = "rank_lost"
    retryable = True


class SupervisorLost(RunError):
    """The process that started the runner is gone."""

    code = "worker_lost"
    retryable = True
