"""What the api itself refuses, before a ledger is asked.

    ApiError
    ├── Unauthorized          unauthorized
    ├── Forbidden             forbidden
    ├── ProjectNotYours       forbidden
    ├── GrantsTooMuch         forbidden
    ├── ForeignOrigin         csrf
    ├── TooManyFailures       rate_limited
    ├── TooManyRequests       rate_limited
    ├── TooManyStreams        too_many_streams
    ├── ProjectNeeded         project_needed
    ├── BadRequest            bad_request
    │   ├── BadIdempotencyKey   invalid_idempotency_key
    │   ├── BadDigest           invalid_digest
    │   ├── DigestMismatch      digest_mismatch
    │   ├── BadMultipart        malformed_multipart
    │   └── IncompleteUpload    incomplete_upload
    ├── HeadTooLarge          headers_too_large
    ├── BodyTooLarge          body_too_large
    ├── UnsupportedMedia      unsupported_media
    ├── TooSlow               upload_too_slow
    ├── BadRange              range_not_satisfiable
    ├── InvalidRequest        invalid_request
    │   ├── InvalidJson         invalid_json
    │   ├── InvalidSpec         invalid_spec, or not_supported
    │   ├── UnsupportedMethod   unsupported_method
    │   ├── UnsupportedPurpose  unsupported_purpose
    │   └── ConflictingFields   conflicting_fields
    ├── NotYet                not_supported
    ├── NotBuilt              not_implemented
    ├── FileNotFound          file_not_found
    ├── FileFaulty            file_faulty
    ├── BaseModelKept         base_model_kept
    ├── NoSpace               insufficient_storage
    ├── TooManyUploads        too_many_uploads
    ├── TooManyReadouts       too_many_readouts
    ├── ModelNotFound         model_not_found
    ├── JobHasNoModel         job_has_no_model
    ├── GenerationUnavailable generation_unavailable
    ├── GenerationBusy        generation_busy
    ├── GenerationInterrupted generation_interrupted
    ├── GenerationOutOfMemory generation_out_of_memory
    └── GenerationRefused     the code of what stood against it

Codes only; statuses stand in :mod:`api.errors`. No message repeats what was sent.
"""

from collections.abc import Sequence

from neftune_core.spec_faults import Fault


class ApiError(Exception):
    """A request that the api answers itself."""

    code: str = "internal"

    def __init__(self, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)


class Unauthorized(ApiError):
    """No key, or one that opens nothing."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("Send a valid key as Authorization: Bearer <key>.")


class Forbidden(ApiError):
    """The key is good, but not for this."""

    code = "forbidden"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This key lacks the scope {scope}; use one that has it.")


class ProjectNotYours(ApiError):
    """A header that names a project, from a key that opens another one."""

    code = "forbidden"

    def __init__(self) -> None:
        super().__init__("Only an operator's key chooses a project; leave Neftune-Project out.")


class GrantsTooMuch(ApiError):
    """A new key that could do more, or for longer, than the one that makes it."""

    code = "forbidden"

    def __init__(self, what: str) -> None:
        super().__init__(f"A key gives to others no more than it has: {what}.")


class ForeignOrigin(ApiError):
    """A change that a browser with our cookie asks for, and that may be another site's wish."""

    code = "csrf"

    def __init__(self) -> None:
        super().__init__(
            "A change made with the cookie needs an Origin of this host and the header Neftune-CSRF: 1;"
            " programs send a key instead."
        )


class ProjectNeeded(ApiError):
    """An operator's key where a project is needed."""

    code = "project_needed"

    def __init__(self) -> None:
        super().__init__("This key belongs to the operator; name a project in the header Neftune-Project.")


class TooManyFailures(ApiError):
    """An address that guesses keys."""

    code = "rate_limited"

    def __init__(self) -> None:
        super().__init__("Too many requests with a wrong key from this address; wait a minute.")


class TooManyRequests(ApiError):
    """A key that asks more often than it may."""

    code = "rate_limited"

    def __init__(self, per_minute: int, wait_s: int) -> None:
        super().__init__(f"A key may make {per_minute} requests a minute; wait {wait_s} s.")
        self.retry_after_s = wait_s


class TooManyStreams(ApiError):
    """A key with too many live streams open."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(f"This key has {limit} streams open already; close one, or read events instead.")


class BadRequest(ApiError):
    """A request whose frame is wrong (headers, host, lengths)."""

    code = "bad_request"


class BadIdempotencyKey(BadRequest):
    """An Idempotency-Key that is empty, too long or not plain text."""

    code = "invalid_idempotency_key"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key must be 1 to 255 visible ASCII characters, sent once.")


class BadDigest(BadRequest):
    """A Content-Digest that can't be read."""

    code = "invalid_digest"

    def __init__(self) -> None:
        super().__init__("Content-Digest must hold sha-256=:<base64 of 32 bytes>: (RFC 9530).")


class DigestMismatch(BadRequest):
    """The bytes that came are not the bytes that were promised."""

    code = "digest_mismatch"

    def __init__(self) -> None:
        super().__init__("The body's SHA-256 is not the one in Content-Digest; send it again.")


class BadMultipart(BadRequest):
    """A form that is no form."""

    code = "malformed_multipart"


class IncompleteUpload(BadRequest):
    """The connection ended before the body did, or before the rows were checked."""

    code = "incomplete_upload"

    def __init__(self) -> None:
        super().__init__("The body ended early; nothing was kept, send it again.")


class HeadTooLarge(ApiError):
    """Headers over the limit."""

    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The headers may hold at most {limit} bytes.")


class BodyTooLarge(ApiError):
    """A JSON body (or a body where none belongs) over the limit."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may hold at most {limit} bytes here.")


class UnsupportedMedia(ApiError):
    """A body in a type or coding that this route doesn't read."""

    code = "unsupported_media"


class TooSlow(ApiError):
    """A body that trickles."""

    code = "upload_too_slow"

    def __init__(self) -> None:
        super().__init__("The body came too slowly; nothing was kept, send it again.")


class BadRange(ApiError):
    """A Range outside the artifact."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__("The range lies outside the artifact.")
        self.size = size


class InvalidRequest(ApiError):
    """Parameters that don't fit."""

    code = "invalid_request"


class InvalidJson(InvalidRequest):
    """A body that is not the JSON we read."""

    code = "invalid_json"


class InvalidSpec(InvalidRequest):
    """A job spec with faults."""

    code = "invalid_spec"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("The job spec has faults; see errors for the places.", faults)
        if all(fault.code == "not_supported" for fault in faults):
            self.code = "not_supported"  # sound, only not built yet


class UnsupportedMethod(InvalidRequest):
    """A way to tune, or something beside it, that this service does not have."""

    code = "unsupported_method"


class UnsupportedPurpose(InvalidRequest):
    """A file for something else than fine-tuning."""

    code = "unsupported_purpose"


class ConflictingFields(InvalidRequest):
    """Two places of one body that ask for different things."""

    code = "conflicting_fields"


class NotYet(ApiError):
    """A documented option that this version does not serve."""

    code = "not_supported"


class NotBuilt(ApiError):
    """A route that clients know and this service does not serve."""

    code = "not_implemented"

    def __init__(self) -> None:
        super().__init__("This service does not serve that; nothing was changed.")


class FileNotFound(ApiError):
    """A file that a job names and that is not there for this key."""

    code = "file_not_found"

    def __init__(self, param: str) -> None:
        super().__init__("There is no such file for this key; upload it first.")
        self.param = param


class FileFaulty(ApiError):
    """A file whose upload had faults; its bytes were not kept."""

    code = "file_faulty"

    def __init__(self, param: str | None = None) -> None:
        super().__init__("The file had faults, so its bytes were not kept; its `validation` names them.")
        self.param = param


class BaseModelKept(ApiError):
    """A base model, which only the operator removes."""

    code = "base_model_kept"

    def __init__(self) -> None:
        super().__init__("Base models belong to the operator; only tuned models can be deleted.")


class NoSpace(ApiError):
    """The disk for spooled uploads is full."""

    code = "insufficient_storage"

    def __init__(self) -> None:
        super().__init__("There is no room to take this upload now; nothing was kept.")


class TooManyUploads(ApiError):
    """More uploads at once than this process takes, or takes of one project."""

    code = "too_many_uploads"

    def __init__(self) -> None:
        super().__init__("Too many uploads are under way; try again in a moment.")


class TooManyReadouts(ApiError):
    """More looks at datasets wait than this process takes."""

    code = "too_many_readouts"

    def __init__(self) -> None:
        super().__init__("Too many previews and counts are under way; try again in a moment.")


class ModelNotFound(ApiError):
    """A name that belongs to no model of this key: unknown, another project's, or not kept any more."""

    code = "model_not_found"
    param = "model"

    def __init__(self) -> None:
        super().__init__(
            "There is no such model for this key; name a base of GET /models, or a job that has succeeded."
        )


class JobHasNoModel(ApiError):
    """A job of one's own that has made nothing to ask."""

    code = "job_has_no_model"
    param = "model"

    def __init__(self) -> None:
        super().__init__("The job has not made a model (yet); wait until it succeeds, or name a checkpoint.")


class GenerationUnavailable(ApiError):
    """No process that answers is there."""

    code = "generation_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "No process that answers is there now; the operator starts one with `python -m worker.generate`."
        )


class GenerationBusy(ApiError):
    """Too many wait for answers, or the device trains."""

    code = "generation_busy"

    def __init__(self, detail: str = "As many requests wait for answers as may; ask again soon.") -> None:
        super().__init__(detail)


class GenerationInterrupted(ApiError):
    """What answered is gone, in the middle."""

    code = "generation_interrupted"

    def __init__(self, detail: str = "The process that answered is gone; ask again.") -> None:
        super().__init__(detail)


class GenerationOutOfMemory(ApiError):
    """The device that answers has no room for this model now."""

    code = "generation_out_of_memory"


class GenerationRefused(ApiError):
    """What stood against an answer, by the code it has elsewhere."""

    def __init__(self, code: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail, faults)
        self.code = code
