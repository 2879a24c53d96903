"""What can go wrong around a run, with the code that stays with the job.

WorkerError               internal
├── DatasetCorrupt        dataset_corrupt
├── ResultRefused         internal
└── ModelRefused          the fetcher's code: model_not_available, custom_code, unsafe_weights
Stopped                   no error: somebody wants the run to end
"""

from worker.stop import Stop


class WorkerError(Exception):
    """A run cannot go on."""

    code = "internal"
    retryable = False


class DatasetCorrupt(WorkerError):
    """The bytes in storage are not the ones that were sealed."""

    code = "dataset_corrupt"

    def __init__(self, dataset: str) -> None:
        super().__init__(f"The stored bytes of dataset {dataset} are not the ones uploaded; upload it again.")


class ResultRefused(WorkerError):
    """What the runner left is not what it owes, or is no plain file under its output folder."""

    code = "internal"


class ModelRefused(WorkerError):
    """The hub's model is one we do not run."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stopped(Exception):
    """The run has to end before it could begin or publish."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop
