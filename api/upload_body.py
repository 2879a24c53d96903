"""An upload's bytes as they come: paced, bounded, in blocks, out of a form if need be.

Nothing is spooled and at most a few blocks are held, however large the body is.
"""

import re
import time
from collections.abc import AsyncIterator

import anyio
import python_multipart
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

from api.refusals import BadMultipart, IncompleteUpload, TooSlow

BLOCK_BYTES = 1024 * 1024
_FORM_PARTS = 16
_FORM_FIELD_BYTES = 64 * 1024
_FORM_FRAME_BYTES = 1024 * 1024  # all that is not the file: heads, fields, what stands before and after


async def paced(request: Request, *, min_bytes_per_s: int, patience_s: float) -> AsyncIterator[bytes]:
    """Yield the body as it comes; refuse a sender that keeps us waiting for too few bytes.

    Only time spent waiting counts, so a slow store of ours is never held against the sender.
    """
    waited, came = 0.0, 0
    while True:
        began = time.monotonic()
        message = None
        with anyio.move_on_after(max(patience_s - waited, 0.001)):
            message = await request.receive()
        waited += time.monotonic() - began
        if message is not None:
            if message["type"] == "http.disconnect":
                raise IncompleteUpload
            came += len(message.get("body", b""))
            if body := message.get("body"):
                yield body
            if not message.get("more_body", False):
                return
        if waited >= patience_s:
            if came < min_bytes_per_s * patience_s:
                raise TooSlow
            waited, came = 0.0, 0


async def blocks(chunks: AsyncIterator[bytes], size: int = BLOCK_BYTES) -> AsyncIterator[bytes]:
    """Coalesce small chunks: fewer, larger writes cost a sixth of the CPU."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class FormFile:
    """The one large part of a multipart form, ``file``, as a stream of its bytes.

    Other parts are kept as ``fields``, within limits. The form must be complete, and hold the file once.
    """

    def __init__(self, chunks: AsyncIterator[bytes], content_type: str, part: bytes = b"file") -> None:
        boundary = re.search(r'boundary=(?:"([^"\r\n]{1,200})"|([^\s;",]{1,200}))', content_type)
        if boundary is None:
            raise BadMultipart("The form has no boundary; send the raw file as the body instead.")
        self.filename: str | None = None
        self._part = part
        self._fields: dict[bytes, bytearray] = {}
        self._field = bytearray()
        self._chunks = chunks
        self._parser = python_multipart.MultipartParser(
            (boundary[1] or boundary[2]).encode("latin-1", "replace"),
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_finish,
                "on_part_data": self._part_data,
                "on_end": self._form_ends,
            },
        )
        self._name, self._value, self._disposition = bytearray(), bytearray(), b""
        self._parts = self._skipped = self._files = 0
        self._in_file = self._ended = False
        self._out = bytearray()

    def field(self, name: str) -> str | None:
        """Give what another part holds, as far as the form has been read."""
        held = self._fields.get(name.encode())
        return None if held is None else held.decode("utf-8", "replace")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes."""
        frame = 0
        async for chunk in self._chunks:
            frame += len(chunk)
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BadMultipart(
                    "The form can't be read; send the raw file as the body instead."
                ) from error
            if self._out:
                frame -= len(self._out)
                yield bytes(self._out)
                self._out.clear()
            if frame > _FORM_FRAME_BYTES:
                raise BadMultipart("The form holds too much beside its file; send the raw file as the body.")
        if not self._ended:
            raise BadMultipart("The form ends early; its closing boundary is missing.")
        if not self._files:
            raise BadMultipart("The form has no part named file; name it file, or send the raw file.")

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > _FORM_PARTS:
            raise BadMultipart("The form has too many parts; send only the part named file.")
        self._disposition = b""

    def _header_ends(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finish(self) -> None:
        _, options = python_multipart.multipart.parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        self._in_file = name == self._part
        if not self._in_file:
            self._field = self._fields[name] = bytearray()
        if self._in_file:
            self._files += 1
            if self._files > 1:
                raise BadMultipart("The form holds the part file more than once.")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace") or None

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._out += data[start:end]
            return
        self._skipped += end - start
        if self._skipped > _FORM_FIELD_BYTES:
            raise BadMultipart("The form's other fields are too large; send only the part named file.")
        self._field += data[start:end]

    def _form_ends(self) -> None:
        self._ended = True
