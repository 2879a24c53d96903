"""From what went wrong to what the client is told: the only map from codes to statuses.

Every refusal, of the core, the store, the framework or the api, passes :func:`answer_to` and leaves as
problem details. The input is never repeated. What nobody foresaw is ``internal``; its traceback goes to
the log under the request id.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from api.openai.envelope import envelope, speaks
from api.problems import problem, told
from api.refusals import ApiError, BadRange
from neftune_core.errors import CoreError, ModelError
from neftune_core.spec_faults import FAULTS_TOLD
from neftune_store.errors import DatasetNotFound, SecretUnknown, StoreError

log = structlog.get_logger()

STATUSES: Mapping[str, int] = {
    # who asks
    "unauthorized": 401,
    "forbidden": 403,
    "csrf": 403,
    "project_needed": 400,
    "rate_limited": 429,
    "too_many_streams": 429,
    "too_many_uploads": 429,
    "too_many_readouts": 429,
    # how it was asked
    "bad_request": 400,
    "invalid_idempotency_key": 400,
    "invalid_digest": 400,
    "digest_mismatch": 400,
    "malformed_multipart": 400,
    "incomplete_upload": 400,
    "not_found": 404,
    "method_not_allowed": 405,
    "upload_too_slow": 408,
    "body_too_large": 413,
    "unsupported_media": 415,
    "range_not_satisfiable": 416,
    "headers_too_large": 431,
    "unsupported_method": 422,
    "unsupported_purpose": 422,
    "conflicting_fields": 422,
    "upload_mismatch": 422,
    "invalid_json": 422,
    "invalid_request": 422,
    "invalid_cursor": 422,
    "invalid_limit": 422,
    "weak_key": 422,
    # what was asked
    "invalid_spec": 422,
    "not_supported": 422,
    "not_implemented": 501,
    "file_not_found": 404,
    "model_not_found": 404,
    "file_faulty": 422,
    "base_model_kept": 403,
    "model_error": 422,
    "model_not_available": 422,
    "custom_code": 422,
    "unsafe_weights": 422,
    "dataset_error": 422,
    "dataset_invalid": 422,
    "dataset_empty": 422,
    "dataset_encoding": 422,
    "dataset_format": 422,
    "dataset_too_large": 413,
    "no_trainable_tokens": 422,
    "template_error": 422,
    "prompt_too_long": 422,
    # what stands against it
    "dataset_in_use": 409,
    "idempotency_conflict": 409,
    "job_deleted": 410,
    "already_finished": 409,
    "too_many_webhooks": 409,
    "too_many_keys": 409,
    "last_admin_key": 409,
    "project_exists": 409,
    "quota_exceeded": 413,
    "file_belongs_to_job": 409,
    "job_has_no_model": 409,
    "upload_not_pending": 409,
    "too_many_open_uploads": 429,
    "invalid_move": 409,
    "job_not_succeeded": 409,
    "nothing_to_merge": 409,
    "nothing_to_evaluate": 409,
    "best_unknown": 409,
    "checkpoint_not_kept": 409,
    "other_base": 409,
    "benchmark_unavailable": 422,
    "job_in_use": 409,
    "too_many_secrets": 409,
    "secrets_off": 409,
    "secret_unknown": 422,
    "secret_unreadable": 409,
    "conflict": 409,
    "lease_lost": 409,
    "intent_changed": 409,
    "queue_full": 429,
    # what is down
    "insufficient_storage": 507,
    "storage_unavailable": 503,
    "database_unavailable": 503,
    "broker_unavailable": 503,
    "unavailable": 503,
    "model_download": 503,
    "generation_unavailable": 503,
    "generation_busy": 503,
    "generation_interrupted": 503,
    "generation_out_of_memory": 503,
    "internal": 500,
}

TITLES: Mapping[str, str] = {
    "already_finished": "The job has ended",
    "database_unavailable": "The database is not reachable",
    "dataset_in_use": "The dataset is in use",
    "dataset_invalid": "The dataset has faults",
    "dataset_too_large": "The dataset is too large",
    "digest_mismatch": "The digest does not match",
    "generation_busy": "Others are being answered",
    "generation_unavailable": "Nobody is there to answer",
    "idempotency_conflict": "The Idempotency-Key was used for another body",
    "incomplete_upload": "The upload is incomplete",
    "internal": "Something failed on our side",
    "invalid_spec": "The job spec has faults",
    "method_not_allowed": "This method is not allowed here",
    "model_not_available": "The model is not available",
    "not_found": "There is no such thing here",
    "not_supported": "Not supported yet",
    "queue_full": "The queue is full",
    "quota_exceeded": "The project stores as much as it may",
    "rate_limited": "Too many requests",
    "storage_unavailable": "The object storage is not reachable",
    "unauthorized": "A valid key is needed",
    "unsupported_media": "This media type is not read here",
}

RETRY_AFTER_S: Mapping[str, int] = {
    "database_unavailable": 2,
    "storage_unavailable": 5,
    "broker_unavailable": 5,
    "unavailable": 5,
    "model_download": 30,
    "insufficient_storage": 60,
    "rate_limited": 60,
    "too_many_streams": 10,
    "too_many_uploads": 5,
    "too_many_readouts": 5,
    "queue_full": 30,
    "too_many_open_uploads": 30,
    "generation_unavailable": 10,
    "generation_busy": 5,
    "generation_interrupted": 2,
    "generation_out_of_memory": 60,
}

_NOT_FOUND = "There is no such resource for this key."
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media"}


class Served:
    """Which methods a path is served under: the framework names only those of the first route that fits."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._routes: list[tuple[re.Pattern[str], frozenset[str]]] = []

    def methods(self, path: str) -> list[str]:
        """List them in order."""
        if not self._routes:  # the routers are included after this is made
            self._routes = [
                (compile_path(found.path)[0], frozenset(found.methods or ()))
                for found in iter_route_contexts(self._app.routes)
                if found.path
            ]
        return sorted({method for form, methods in self._routes if form.match(path) for method in methods})


def install(app: FastAPI) -> None:
    """Make the app answer everything it can foresee through :func:`answer_to`."""

    served = Served(app)

    def answer(request: Request, error: Exception) -> Response:
        path = request.scope["path"]
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = HTTPException(405, headers={"Allow": ", ".join(served.methods(path))})
        return answer_to(error, request.state.request_id, path)

    for kind in (ApiError, CoreError, StoreError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


# What is said of faults of ours; also of a code that has no status.
_INTERNAL = "The fault is ours and was logged under this request id; nothing was changed by halves."


def answer_to(error: Exception, request_id: str, path: str) -> Response:
    """Build the answer that tells ``error``, as the surface speaks to which ``path`` belongs."""
    code, detail = _named(error)
    status = STATUSES[code]
    if status == 500:
        log.error("request.failed", exc_info=error)
    if speaks(path):
        return envelope(
            status=status,
            code=code,
            detail=detail,
            param=getattr(error, "param", None),
            errors=_errors(error),
            headers=_headers(code, status, error),
        )
    return problem(
        status=status,
        code=code,
        title=TITLES.get(code, HTTPStatus(status).phrase),
        detail=detail,
        request_id=request_id,
        errors=_errors(error),
        extra={"counts": counts} if (counts := getattr(error, "counts", None)) else None,
        headers=_headers(code, status, error),
    )


def _named(error: Exception) -> tuple[str, str]:
    """Give the code and the words for it."""
    match error:
        case HTTPException(status_code=404) | StoreError(code="not_found"):
            named = "not_found", _NOT_FOUND  # a foreign id and an unknown one read the same
        case ApiError() | StoreError() | CoreError():
            named = error.code, str(error)
        case RequestValidationError():
            named = "invalid_request", "A parameter does not fit; see errors."
        case HTTPException(status_code=status):
            named = _HTTP_CODES.get(status, "bad_request"), HTTPStatus(status).phrase + "."
        case ClientDisconnect():
            named = "incomplete_upload", "The body ended early; nothing was kept, send it again."
        case _:
            named = "internal", _INTERNAL
    return ("internal", _INTERNAL) if STATUSES.get(named[0], 500) == 500 else named


def _errors(error: Exception) -> list[dict[str, Any]]:
    match error:
        case ApiError():
            return told(error.faults)
        case RequestValidationError():
            return [
                {"loc": list(found["loc"]), "code": found["type"], "msg": found["msg"]}
                for found in error.errors()[:FAULTS_TOLD]
            ]
        case ModelError() | SecretUnknown() | DatasetNotFound(place=[_, *_]):
            return [{"loc": list(error.place), "code": error.code, "msg": str(error)}]
        case CoreError():
            return [
                {"line": fault.line, "code": fault.code, "msg": fault.msg, "path": fault.path}
                for fault in getattr(error, "faults", ())
            ][:FAULTS_TOLD]
    return []


def _headers(code: str, status: int, error: Exception) -> dict[str, str]:
    headers: dict[str, str] = {}
    if code in RETRY_AFTER_S:
        headers["retry-after"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S[code]))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="neftune"'
    if status in {409, 501}:  # client libraries otherwise repeat it
        headers["x-should-retry"] = "false"
    if status in {400, 408, 413, 431}:  # the rest of the body is not wanted, and framing is in doubt
        headers["connection"] = "close"
    if isinstance(error, BadRange):
        headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
        headers["allow"] = error.headers["Allow"]
    return headers
