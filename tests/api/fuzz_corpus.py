"""Requests that once broke something, here or in a service like this one; each is sent on every run.

A case that the fuzzer finds is added as it was printed, with what it was and what the answer has to be.
"""

import io
import json

from tests.api.fuzz_wire import Case, Headers

_HOST = (b"host", b"localhost")
_KEY = (b"authorization", b"Bearer @key@")
_JSON = (b"content-type", b"application/json")
_BYTES = (b"content-type", b"application/octet-stream")
_CHUNKED = (b"transfer-encoding", b"chunked")


def _post(path: str, body: bytes, *headers: tuple[bytes, bytes], kind: tuple[bytes, bytes] = _JSON) -> Case:
    return Case("POST", path.encode(), b"", (_HOST, _KEY, kind, *headers), (body,))


def _get(path: str, query: bytes = b"", *headers: tuple[bytes, bytes]) -> Case:
    return Case("GET", path.encode(), query, (_HOST, _KEY, *headers))


def _spec(fragment: bytes) -> bytes:
    return b'{"model": "org/base", "dataset": "@own:/datasets@", ' + fragment + b"}"


def _form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def _parquet(rows: int) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - only for two cases
    from pyarrow import parquet  # noqa: PLC0415 - as above

    sink = io.BytesIO()
    parquet.write_table(pa.table({"text": pa.array(["zqmark"] * rows)}), sink)
    return sink.getvalue()


_FILE = b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
_BOUND = (b"content-type", b"multipart/form-data; boundary=b")
_BARE: Headers = (_KEY, _JSON)

CORPUS: dict[str, tuple[Case, set[int]]] = {
    # Numbers and texts that the standard parsers let through and something later choked on
    "alpha NaN": (_post("/jobs", _spec(b'"alpha": NaN')), {422}),
    "alpha Infinity": (_post("/jobs", _spec(b'"alpha": Infinity')), {422}),
    "alpha 1e999": (_post("/jobs", _spec(b'"alpha": 1e999')), {422}),
    "alpha of 5,000 digits": (_post("/jobs", _spec(b'"alpha": ' + b"9" * 5000)), {422}),
    "half a surrogate pair": (_post("/jobs", _spec(b'"name": "\\ud800"')), {422}),
    "NUL in a text": (_post("/jobs", _spec(b'"name": "\\u0000"')), {422}),
    "NUL in a text of /v1": (_post("/v1/fine_tuning/jobs", b'{"model": "\\u0000", "training_file": "x"}'),
    {400}),
    "the same key twice": (_post("/jobs", _spec(b'"alpha": 1, "alpha": 2')), {422}),
    "a hundred thousand levels": (_post("/jobs", b"[" * 30_000 + b"]" * 30_000), {422}),
    "UTF-16": (_post("/jobs", '{"model": "org/base"}'.encode("utf-16")), {422}),
    "a byte order mark": (_post("/jobs", b"\xef\xbb\xbf" + _spec(b'"alpha": 1')), {422}),
    "bytes that are no UTF-8": (_post("/webhooks", b'{"url": "http://\xff"}'), {422}),
    "a port that is no number": (_post("/webhooks", b'{"url": "http://a:zqmark/"}'), {422}),
    "a bracket in a host": (_post("/webhooks", b'{"url": "http://[zqmark/"}'), {422}),
    "a seed of 2^64": (_post("/jobs", _spec(b'"training": {"seed": 18446744073709551616}')), {422}),
    "a promise of 2^80 bytes": (
        _post("/v1/uploads", b'{"filename": "x", "purpose": "fine-tune", "bytes": ' + b"9" * 25 + b"}"),
        {413},
    ),
    "a name of 10 MB": (_post("/jobs", b'{"name": "' + b"zqmark" * 20_000 + b'"}'), {413}),
    # Heads
    "a length beside chunks": (_post("/jobs", b"{}", _CHUNKED, (b"content-length", b"2")), {400}),
    "a negative length": (_post("/jobs", b"{}", (b"content-length", b"-1")), {400}),
    "a length with a raised two": (_post("/jobs", b"{}", (b"content-length", b"\xb2")), {400}),
    "a length of forty digits": (_post("/datasets", b"{}", (b"content-length", b"9" * 40)), {400}),
    "a host with a path": (Case("GET", b"/jobs", b"", ((b"host", b"a/b?c"), _KEY)), {400}),
    "no host": (Case("GET", b"/jobs", b"", _BARE), {400}),
    "ten thousand ranges": (
        _get("/jobs/@own:/jobs@/artifacts/adapter", b"", (b"range", b"bytes=" + b"0-," * 10_000)), {200,
        404}
    ),
    "a range of raised twos": (_get("/v1/files/@own:/v1/files@/content", b"", (b"range", b"bytes=\xb2-")),
    {200}),
    "an id of raised twos": (_get("/jobs/@own:/jobs@/stream", b"", (b"last-event-id", b"\xb2")), {200}),
    "an id beyond 64 bits": (_get("/jobs/@own:/jobs@/stream", b"", (b"last-event-id", b"9" * 19)), {200}),
    "a key of odd bytes": (Case("GET", b"/jobs", b"", (_HOST, (b"authorization", b"Bearer \xff\xfe"))),
    {401}),
    "a header of a megabyte": (_get("/jobs", b"", (b"x-long", b"zqmark" * 200_000)), {431}),
    "an attempt of 5,000 digits": (
        _post("/v1/fine_tuning/jobs", b"{}", (b"x-stainless-retry-count", b"9" * 5000)), {400}
    ),
    # Places and questions
    "NUL in a path": (_get("/jobs/%00"), {404}),
    "half a character in a path": (_get("/jobs/%ed%a0%80/artifacts/%ff"), {404}),
    "dots in a path": (_get("/jobs/@own:/jobs@/artifacts/..%2f..%2fetc%2fpasswd"), {404}),
    "bytes in a query": (_get("/jobs", b"\xff=\xfe"), {400}),
    "bytes in a query of a change": (
        Case("POST", b"/jobs/@own:/jobs@/cancel", b"\xff=\xfe", (_HOST, _KEY)),
        {400},
    ),
    "a day as seconds": (_get("/usage", b"until=0"), {422}),
    "NUL in a filter": (_get("/jobs", b"tag=%00"), {422}),
    "half a character in a filter": (_get("/jobs", b"model=%ed%a0%80"), {200}),
    "NUL in a filter of /v1": (_get("/v1/fine_tuning/jobs", b"metadata[%00]=1"), {400}),
    "NUL after which": (_get("/v1/files", b"after=file-%00"), {404}),
    "after a number beyond 64 bits": (_get("/jobs/@own:/jobs@/events", b"after=9223372036854775808"),
    {422}),
    "a page of 10^9": (_get("/jobs", b"limit=1000000000"), {422}),
    "a forged cursor": (_get("/jobs", b"cursor=zqmark"), {422}),
    "a cursor of odd bytes": (_get("/datasets", b"cursor=%ff%00"), {422}),
    "NUL in a model's name": (_get("/v1/models/ft:org/base:org-0:%00:zqmark01"), {404}),
    "NUL in a webhook's id": (_get("/webhooks/wh_%00/deliveries"), {404}),
    # Uploads
    "a Parquet file that is cut": (_post("/datasets", _parquet(11)[:300], kind=_BYTES), {422}),
    "a Parquet head and nothing": (_post("/datasets", b"PAR1PAR1", kind=_BYTES), {422}),
    "a table of 100,000 columns": (
        _post("/datasets", b",".join(b"c%d" % n for n in range(100_000)) + b"\n1\n", kind=_BYTES), {422}
    ),
    "a row without end": (_post("/datasets", b'{"text": "' + b"zqmark" * 250_000, kind=_BYTES), {422}),
    "only a byte order mark": (_post("/datasets", b"\xef\xbb\xbf", kind=_BYTES), {422}),
    "zeros": (_post("/datasets", b"\0" * 5000, kind=_BYTES), {415, 422}),
    "a pickle": (_post("/datasets", b"\x80\x04\x95zqmark.", kind=_BYTES), {415, 422}),
    "a form of nothing but frame": (_post("/datasets", b"\r\n" * 600_000, kind=_BOUND), {400}),
    "a form with a hundred parts": (
        _post("/datasets", _form(*[b'Content-Disposition: form-data; name="x"\r\n\r\n'] * 100),
        kind=_BOUND), {400}
    ),
    "a form without end": (_post("/datasets", _form(_FILE + b'{"text": "a"}', end=b""), kind=_BOUND),
    {400}),
    "a form with an empty boundary": (
        _post("/datasets", b"----\r\n", kind=(b"content-type", b'multipart/form-data; boundary=""')), {400}
    ),
    "a file's name of odd bytes": (
        _post("/datasets", _form(_FILE.replace(b'"x"', b'"\x00\xff/../..\r"') + b'{"text": "a"}'),
        kind=_BOUND),
        {201, 400},
    ),
    "a client that goes away": (
        Case("POST", b"/datasets", b"", (_HOST, _KEY, _BYTES, _CHUNKED), (b'{"text": ',), cut=True), {400}
    ),
    "a client that goes away in a spec": (
        Case("POST", b"/jobs", b"", (_HOST, _KEY, _JSON, _CHUNKED), (b'{"model": ',), cut=True), {400}
    ),
    "parts that are named twice": (
        _post("/v1/uploads/@own:/v1/uploads@/complete",
              json.dumps({"part_ids": ["@own:/v1/uploads/*/parts@"] * 2}).encode()),
        {400, 404, 409},
    ),
}  # fmt: skip
