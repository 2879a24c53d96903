"""The tree of what goes wrong between a user and the service.

    ClientError              1    client_error
    ├── BadInput             2    bad_input         a file, an option or a spec on this side
    ├── NotConfigured        2    not_configured    no address, or no key for it
    ├── Unreachable          5    unreachable       nobody answers, or the line broke and stayed broken
    ├── Refused              1    as the service says, such as invalid_spec
    ├── Unanswered           1    as the service says: a model broke off in the middle of its answer
    ├── DownloadFailed       1    download_failed   what arrived is not what was announced
    └── ArchiveRefused       1    archive_refused   an archive that is not plain files of its own folder

The number is the exit status of the command line. A message names the thing and the way out; none repeats the
key.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import httpx  # only where something was sent: `neftune --help` sends nothing

# What to do about a refusal, where the service can't know that it speaks to a command line.
_WAYS_OUT: Mapping[str, str] = {
    "unauthorized": "Sign in with `neftune login`, or set NEFTUNE_API_KEY.",
    "forbidden": "The key lacks a scope; sign in with another one.",
    "not_found": "`neftune jobs` and `neftune datasets` list what this key can see.",
    "model_not_found": "`neftune models` lists bases, `neftune jobs --status succeeded` what is tuned.",
    "model_not_available": "`neftune models` lists the models at hand.",
    "queue_full": "Wait for a job to end, or cancel one: `neftune jobs --status queued`.",
    "dataset_in_use": "A job that has not ended needs it: `neftune jobs` lists them.",
    "invalid_spec": "Every field is explained in docs/jobspec.md.",
    "dataset_invalid": "Mend these rows and upload again; nothing was kept.",
    "invalid_move": "`neftune show JOB` tells where the job is.",
}
_MOST_TOLD = 20


class ClientError(Exception):
    """Something did not go as it was asked."""

    code: str = "client_error"
    exit_status: ClassVar[int] = 1


class BadInput(ClientError):
    """What was given on this side can't be used."""

    code = "bad_input"
    exit_status = 2


class NotConfigured(ClientError):
    """Nobody said where the service is, or with which key."""

    code = "not_configured"
    exit_status = 2


class Unreachable(ClientError):
    """The service does not answer."""

    code = "unreachable"
    exit_status = 5


class Unanswered(ClientError):
    """A model did not say all it had to say."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(f"{code}: {detail}")


class DownloadFailed(ClientError):
    """The bytes are not those that were announced."""

    code = "download_failed"


class ArchiveRefused(ClientError):
    """The archive holds what it must not hold."""

    code = "archive_refused"


class Refused(ClientError):
    """The service said no; ``problem`` is its answer (RFC 9457), or as much as came."""

    def __init__(self, what: str, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code") or "http_error")
        self.detail = str(problem.get("detail") or "")
        self.errors: Sequence[Mapping[str, Any]] = _mappings(problem.get("errors"))
        self.request_id = str(problem.get("instance") or "")
        super().__init__("\n".join(self._lines(what)))

    @classmethod
    def of(cls, answer: "httpx.Response") -> "Refused":
        """Read an answer that is no success, whatever it is."""
        answer.read()
        try:
            told = answer.json()
        except ValueError:
            told = None
        # A page of somebody in between is no problem document.
        problem = told if isinstance(told, dict) else {"detail": answer.text[:300]}
        what = f"{answer.request.method} {answer.request.url.path}"
        return cls(what, answer.status_code, problem)

    def _lines(self, what: str) -> list[str]:
        lines = [f"{self.code}: {self.detail}".strip()]
        lines += [
            f"  {_place(fault)}{fault.get('msg', '')} ({fault.get('code', '?')})" for fault in self.errors
        ][:_MOST_TOLD]
        if len(self.errors) > _MOST_TOLD:
            lines.append(f"  … and {len(self.errors) - _MOST_TOLD} more; --json shows all that were told")
        counts = self.problem.get("counts")
        if isinstance(counts, dict) and counts:
            lines.append("  in all: " + ", ".join(f"{count} {code}" for code, count in counts.items()))
        if way := _WAYS_OUT.get(self.code):
            lines.append(way)
        asked = f"{what} was answered with {self.status}"
        lines.append(f"({asked}, request {self.request_id})" if self.request_id else f"({asked})")
        return lines


def _place(fault: Mapping[str, Any]) -> str:
    """Say where a fault is: a line of a file, or a field of a body."""
    if (line := fault.get("line")) is not None:
        path = fault.get("path")
        return f"line {line}: {path}: " if path else f"line {line}: "
    loc = fault.get("loc")
    if isinstance(loc, list) and loc:
        return ".".join(map(str, loc)) + ": "
    return ""


def _mappings(given: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
