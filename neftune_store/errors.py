"""The tree of things that go wrong in the store.

    StoreError                      internal
    ├── NotFound                    not_found
    │   ├── JobNotFound             not_found
    │   ├── DatasetNotFound         not_found
    │   ├── SweepNotFound           not_found
    │   ├── ArtifactNotFound        not_found
    │   ├── RecordNotFound          not_found
    │   ├── WebhookNotFound         not_found
    │   ├── SecretNotFound          not_found
    │   ├── FileUnknown             not_found
    │   ├── UploadUnknown           not_found
    │   ├── KeyUnknown              not_found
    │   ├── ProjectUnknown          not_found
    │   └── BlobNotFound            not_found
    ├── Conflict                    conflict
    │   ├── DatasetInUse            dataset_in_use
    │   ├── IdempotencyConflict     idempotency_conflict
    │   ├── AlreadyFinished         already_finished
    │   ├── TooManyWebhooks         too_many_webhooks
    │   ├── TooManyKeys             too_many_keys
    │   ├── LastAdminKey            last_admin_key
    │   ├── ProjectExists           project_exists
    │   ├── FileBelongsToJob        file_belongs_to_job
    │   ├── UploadNotPending        upload_not_pending
    │   ├── JobNotSucceeded         job_not_succeeded
    │   ├── NothingToMerge          nothing_to_merge
    │   ├── JobInUse                job_in_use
    │   ├── NothingToEvaluate       nothing_to_evaluate
    │   ├── BestUnknown             best_unknown
    │   ├── CheckpointNotKept       checkpoint_not_kept
    │   ├── OtherBase               other_base
    │   ├── TooManySecrets          too_many_secrets
    │   ├── SecretsOff              secrets_off
    │   └── InvalidMove             invalid_move
    ├── JobDeleted                  job_deleted
    ├── SecretUnknown               secret_unknown
    ├── SecretUnreadable            secret_unreadable
    ├── QueueFull                   queue_full
    ├── QuotaExceeded               quota_exceeded
    ├── UploadMismatch              upload_mismatch
    ├── TooManyOpenUploads          too_many_open_uploads
    ├── InvalidCursor               invalid_cursor
    ├── InvalidLimit                invalid_limit
    ├── WeakKey                     weak_key
    ├── LeaseLost                   lease_lost
    ├── IntentChanged               intent_changed
    └── Unavailable                 unavailable (retryable)
        ├── DatabaseUnavailable     database_unavailable
        ├── StorageUnavailable      storage_unavailable
        │   └── BlobCorrupt         storage_unavailable
        └── BrokerUnavailable       broker_unavailable

A foreign id and an unknown id raise the same error with the same message: whoever asks learns nothing
about other projects. No HTTP status here; the api maps codes at its edge.
"""

from collections.abc import Sequence
from typing import ClassVar


class StoreError(Exception):
    """Something the store refuses or could not do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class NotFound(StoreError):
    """No such row in this project."""

    code = "not_found"

    def __init__(self, message: str = "No such thing in this project; check the id.") -> None:
        super().__init__(message)


class JobNotFound(NotFound):
    """No such job in this project."""

    def __init__(self) -> None:
        super().__init__("No such job in this project; check the id.")


class SweepNotFound(NotFound):
    """No such series in this project."""

    def __init__(self) -> None:
        super().__init__("No such series in this project; check the id.")


class DatasetNotFound(NotFound):
    """No such dataset in this project. ``place``: where a spec names it."""

    def __init__(self, place: Sequence[str] = ()) -> None:
        self.place = place
        super().__init__("No such dataset in this project; check the id.")


class ArtifactNotFound(NotFound):
    """The job has no such artifact."""

    def __init__(self) -> None:
        super().__init__("The job has no such artifact; list its artifacts for the names.")


class SecretNotFound(NotFound):
    """No secret of this name in this project."""

    def __init__(self) -> None:
        super().__init__("No such secret in this project; GET /secrets lists the names.")


class FileUnknown(NotFound):
    """No such file in this project."""

    def __init__(self) -> None:
        super().__init__("No such file in this project; check the id.")


class UploadUnknown(NotFound):
    """No such upload in this project."""

    def __init__(self) -> None:
        super().__init__("No such upload in this project; check the id.")


class KeyUnknown(NotFound):
    """No such key in this project."""

    def __init__(self) -> None:
        super().__init__("No such key in this project; check the id.")


class ProjectUnknown(NotFound):
    """No such project for this key."""

    def __init__(self) -> None:
        super().__init__("No such project for this key; check the id.")


class RecordNotFound(NotFound):
    """The job has no record: it has not succeeded."""

    def __init__(self) -> None:
        super().__init__("The job has no record; a record is written when it succeeds.")


class WebhookNotFound(NotFound):
    """No such webhook in this project."""

    def __init__(self) -> None:
        super().__init__("No such webhook in this project; check the id.")


class BlobNotFound(NotFound):
    """Storage has no object under this key."""

    def __init__(self) -> None:
        super().__init__("Storage has no such object.")


class Conflict(StoreError):
    """What is asked does not fit the present state."""

    code = "conflict"


class DatasetInUse(Conflict):
    """A job that is not finished needs the dataset."""

    code = "dataset_in_use"

    def __init__(self) -> None:
        super().__init__("An unfinished job uses this dataset; cancel the job or wait for its end.")


class IdempotencyConflict(Conflict):
    """The key was used for another body."""

    code = "idempotency_conflict"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another body; send a new key.")


class AlreadyFinished(Conflict):
    """The job has ended, and an ended job never changes."""

    code = "already_finished"

    def __init__(self, status: str) -> None:
        super().__init__(f"The job has already ended ({status}).")


class TooManyWebhooks(Conflict):
    """The project has as many webhooks as it may."""

    code = "too_many_webhooks"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The project already has {limit} webhooks; delete one.")


class TooManyKeys(Conflict):
    """The project has as many keys as it may."""

    code = "too_many_keys"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The project already has {limit} keys that open something; revoke one.")


class LastAdminKey(Conflict):
    """Without this key nobody could make keys for the project."""

    code = "last_admin_key"

    def __init__(self) -> None:
        super().__init__(
            "This is the project's last key with the scope admin; make another one first,"
            " or say ?even_last_admin=true."
        )


class ProjectExists(Conflict):
    """Another project has this name."""

    code = "project_exists"

    def __init__(self) -> None:
        super().__init__("A project of this name is there already; choose another name.")


class FileBelongsToJob(Conflict):
    """A table of results can't be deleted alone."""

    code = "file_belongs_to_job"

    def __init__(self) -> None:
        super().__init__("These are the results of a job and go with it; delete the job.")


class UploadNotPending(Conflict):
    """An upload that has ended takes no more."""

    code = "upload_not_pending"

    def __init__(self, state: str) -> None:
        super().__init__(f"The upload is {state}; begin another one.")


class InvalidMove(Conflict):
    """The table of moves has no such move."""

    code = "invalid_move"


class JobNotSucceeded(Conflict):
    """What is asked for needs the job's result."""

    code = "job_not_succeeded"

    def __init__(self) -> None:
        super().__init__("The job has no result; only a job that succeeded has one to work on.")


class NothingToMerge(Conflict):
    """The job has left no adapter that could be merged into its base."""

    code = "nothing_to_merge"


class JobInUse(Conflict):
    """Another job that has not ended reads what this one has left."""

    code = "job_in_use"

    def __init__(self) -> None:
        super().__init__(
            "An export or evaluation that reads this job has not ended; wait for it or cancel it first."
        )


class NothingToEvaluate(Conflict):
    """The job has trained nothing."""

    code = "nothing_to_evaluate"

    def __init__(self) -> None:
        super().__init__("Only what was trained can be evaluated; name the job that trained it.")


class BestUnknown(Conflict):
    """The run measured no held-out loss, so no checkpoint is its best."""

    code = "best_unknown"

    def __init__(self) -> None:
        super().__init__("The run had no held-out rows, so none of its checkpoints is the best; use last.")


class CheckpointNotKept(Conflict):
    """The checkpoint is no longer there, or never was."""

    code = "checkpoint_not_kept"

    def __init__(self) -> None:
        super().__init__(
            "The job keeps no such checkpoint; its artifacts name those that are kept, or use last."
        )


class OtherBase(Conflict):
    """Two runs of different bases can't be compared in one evaluation."""

    code = "other_base"

    def __init__(self) -> None:
        super().__init__(
            "The other run has another base model; upload its answers and name them as reference."
        )


class TooManySecrets(Conflict):
    """The project has as many secrets as it may."""

    code = "too_many_secrets"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The project already has {limit} secrets; delete one first.")


class SecretsOff(Conflict):
    """There is no key to seal or open secrets with."""

    code = "secrets_off"

    def __init__(self) -> None:
        super().__init__(
            "This service keeps no secrets: its operator has to set NEFTUNE_SECRET_KEY for api and worker."
        )


class JobDeleted(StoreError):
    """The job this Idempotency-Key made was deleted."""

    code = "job_deleted"

    def __init__(self) -> None:
        super().__init__("The job made under this Idempotency-Key was deleted; send a new key.")


class UploadMismatch(StoreError):
    """The parts are not what the upload was said to be."""

    code = "upload_mismatch"


class TooManyOpenUploads(StoreError):
    """The project has as many unfinished uploads as it may."""

    code = "too_many_open_uploads"
    retryable = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"The project already has {limit} unfinished uploads; complete or cancel some.")


class SecretUnknown(StoreError):
    """A spec names a secret, at this place, that the project does not have."""

    code = "secret_unknown"

    def __init__(self, place: Sequence[str] = ("hub_token", "secret")) -> None:
        self.place = place
        super().__init__("The project has no secret of this name; put it under /secrets first.")


class SecretUnreadable(StoreError):
    """No key of this installation opens a secret, or its row was tampered with."""

    code = "secret_unreadable"

    def __init__(self) -> None:
        super().__init__(
            "The secret was sealed with a key that is not in NEFTUNE_SECRET_KEY; add that key behind the "
            "first one, or put the secret anew."
        )


class QueueFull(StoreError):
    """The project has as many queued jobs as it may."""

    code = "queue_full"
    retryable = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"The project already has {limit} queued jobs; wait until some have started.")


class QuotaExceeded(StoreError):
    """The project stores as many bytes as it may."""

    code = "quota_exceeded"

    def __init__(self, limit: int, stored: int) -> None:
        super().__init__(
            f"The project may store {limit} bytes and holds {stored}; delete datasets or jobs,"
            " or ask the operator for more."
        )


class InvalidCursor(StoreError):
    """The cursor is not one this list gave."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("The cursor is not one this list gave; start without a cursor.")


class InvalidLimit(StoreError):
    """A page is larger or smaller than allowed."""

    code = "invalid_limit"

    def __init__(self, largest: int) -> None:
        super().__init__(f"limit must be between 1 and {largest}.")


class WeakKey(StoreError):
    """A preset API key is too short to resist guessing."""

    code = "weak_key"

    def __init__(self, shortest: int) -> None:
        super().__init__(f"The preset API key is shorter than {shortest} characters; choose a longer one.")


class LeaseLost(StoreError):
    """The run no longer owns its job: the lease ran out, or another run has begun."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("The run no longer owns its job; stop the runner.")


class IntentChanged(StoreError):
    """The user's intent is not the one this settling needs; ``intent`` tells what it is."""

    code = "intent_changed"

    def __init__(self, intent: str) -> None:
        super().__init__(f"The intent is now {intent}; settle accordingly.")
        self.intent = intent


class Unavailable(StoreError):
    """Something the store stands on does not answer; the same request may work later."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    """Postgres does not answer."""

    code = "database_unavailable"

    def __init__(self, message: str = "The database does not answer; try again shortly.") -> None:
        super().__init__(message)


class StorageUnavailable(Unavailable):
    """Object storage does not answer."""

    code = "storage_unavailable"

    def __init__(self, message: str = "Object storage does not answer; try again shortly.") -> None:
        super().__init__(message)


class BlobCorrupt(StorageUnavailable):
    """Storage gave back other bytes than were written."""

    def __init__(self) -> None:
        super().__init__("Object storage gave back other bytes than were written.")


class BrokerUnavailable(Unavailable):
    """Redis does not answer; jobs are still safe in the table."""

    code = "broker_unavailable"

    def __init__(self, message: str = "The broker does not answer; the reconciler will ring again.") -> None:
        super().__init__(message)
