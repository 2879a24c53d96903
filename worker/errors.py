"""What can go wrong around a run, with the code that stays with the job.

WorkerError               internal
├── DatasetCorrupt        dataset_corrupt
├── AdapterCorrupt        adapter_corrupt
├── SubjectGone           job_deleted
├── UnknownKind           internal (retryable: another worker may know it)
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


class AdapterCorrupt(WorkerError):
    """The stored files of an adapter are not the ones that were published."""

    code = "adapter_corrupt"

    def __init__(self) -> None:
        super().__init__("The stored adapter is not the one the job has made; train it again.")


class SubjectGone(WorkerError):
    """The job that this one works on is no longer there."""

    code = "job_deleted"

    def __init__(self) -> None:
        super().__init__("The job that was to be exported is no longer there.")


class UnknownKind(WorkerError):
    """The job is of a kind that this worker has not learnt."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("This worker does not know jobs of this kind; bring it up to date.")


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
