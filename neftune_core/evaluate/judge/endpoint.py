"""One question to an OpenAI-compatible endpoint, and what it means when no answer comes.

What an endpoint says beside its answer is never repeated: it may hold the key or the texts.
"""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from neftune_core.address import Refused, allows
from neftune_core.posting import Answer, AnswerTooLong, Limits, post
from neftune_core.strict_json import JsonFault, loads

_LONGEST_ANSWER = 1024 * 1024
_LONGEST_WAIT = 120.0  # seconds that an endpoint may ask for; longer waits are not waited
_BUSY = {408, 409, 425, 429}
_DENIED = {401, 403}
_ELSEWHERE = {404, 405, 410, 501}


class Then(Enum):
    """What a failure leaves to do."""

    AGAIN = "again"  # the same question may go well later
    NOT_THIS = "not this"  # others may go well
    NEVER = "never"  # no question will


class Unanswered(Exception):
    """No answer came; ``code`` says why."""

    def __init__(self, code: str, then: Then, wait: float = 0.0) -> None:
        super().__init__(code)
        self.code, self.then, self.wait = code, then, wait


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge said, and what it counted; None where it does not say."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Where a judge is asked. Its key is in no representation of it."""

    url: str  # up to, without /chat/completions
    key: str | None
    allowed: Sequence[str]  # patterns of hosts that may be inside our network
    seconds: float

    def ask(self, body: Mapping[str, Any]) -> Reply:
        """Ask once. Raises :class:`Unanswered`, and nothing else."""
        parts = urlsplit(self.url)
        if self.key and parts.scheme != "https" and not allows(self.allowed, parts.hostname or ""):
            raise Unanswered("key_in_the_clear", Then.NEVER)
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        limits = Limits(self.allowed, self.seconds, _LONGEST_ANSWER)
        try:
            answer = post(f"{self.url.rstrip('/')}/chat/completions", data, self._headers(), limits)
        except Refused:
            raise Unanswered("address_refused", Then.NEVER) from None
        except TimeoutError:
            raise Unanswered("timeout", Then.AGAIN) from None
        except ssl.SSLCertVerificationError:
            raise Unanswered("certificate_refused", Then.NEVER) from None
        except AnswerTooLong:
            raise Unanswered("nonsense", Then.AGAIN) from None
        except socket.gaierror:
            raise Unanswered("unknown_host", Then.AGAIN) from None
        except (OSError, http.client.HTTPException, ValueError):
            raise Unanswered("unreachable", Then.AGAIN) from None
        return _reply(answer)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "neftune"}
        return {**headers, "Authorization": f"Bearer {self.key}"} if self.key else headers


def _reply(answer: Answer) -> Reply:
    if answer.status != 200:
        raise _refusal(answer)
    try:
        value = loads(answer.body)
    except JsonFault:
        raise Unanswered("nonsense", Then.AGAIN) from None
    try:
        text = value["choices"][0]["message"]["content"]  # type: ignore[index]  # whatever it is
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise Unanswered("nonsense", Then.AGAIN)
    used = value.get("usage") if isinstance(value, dict) else None
    return Reply(text, _count(used, "prompt_tokens"), _count(used, "completion_tokens"))


def _refusal(answer: Answer) -> Unanswered:
    if answer.status in _BUSY or (answer.status >= 500 and answer.status != 501):
        return Unanswered("busy", Then.AGAIN, _wait(answer.headers))
    if answer.status in _DENIED:
        return Unanswered("denied", Then.NEVER)
    if answer.status in _ELSEWHERE or answer.status < 400:  # a redirect is not followed
        return Unanswered("not_there", Then.NEVER)
    return Unanswered("rejected", Then.NOT_THIS)


def _wait(headers: Mapping[str, str]) -> float:
    asked = headers.get("retry-after", "").strip()
    # A date is not read: the next try comes late enough by itself.
    return min(float(asked), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", asked) else 0.0


def _count(used: Any, name: str) -> int | None:
    count = used.get(name) if isinstance(used, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**31 else None
