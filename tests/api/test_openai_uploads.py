"""Uploads in parts through the official SDK: any order, any number, and nothing kept of a bad end."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from sqlalchemy import text

from tests.api.live_api import Service, rows
from tests.api.openai_sdk import create, key_of, sdk

DATA = rows(50)


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK, with the key that `client` has."""
    with sdk(service.url, key_of(client)) as found:
        yield found
    for part in (service.storage / "staging").glob("*"):  # of uploads that a test leaves unfinished
        part.unlink()


def begin(ai: OpenAI, size: int = len(DATA), **more: Any) -> str:
    """Promise so many bytes."""
    given: dict[str, Any] = {
        "filename": "rows.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    }
    return ai.uploads.create(bytes=size, **{**given, **more}).id


def send(ai: OpenAI, upload: str, *pieces: bytes) -> list[str]:
    return [ai.uploads.parts.create(upload, data=piece).id for piece in pieces]


def staged(service: Service) -> list[str]:
    return [name for name in service.kept() if name.startswith("staging/")]


def test_the_sdk_sends_a_file_in_parts_by_itself(service: Service, ai: OpenAI) -> None:
    upload = ai.uploads.upload_file_chunked(
        file=DATA, filename="a/b.jsonl", bytes=len(DATA), mime_type="x/y", purpose="fine-tune", part_size=700
    )
    assert (upload.object, upload.status, upload.bytes) == ("upload", "completed", len(DATA))
    assert upload.expires_at == upload.created_at + 3600
    assert upload.file is not None
    assert (upload.file.filename, upload.file.status) == ("a/b.jsonl", "processed")
    assert ai.files.content(upload.file.id).content == DATA
    assert create(ai, upload.file.id).training_file == upload.file.id
    assert staged(service) == []


def test_parts_are_put_together_as_they_are_named(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    assert upload.startswith("upload_")
    # Given parts that came the wrong way round, one of them twice
    last, first, again = send(ai, upload, DATA[900:], DATA[:900], DATA[900:])
    # When they are named in the right order
    done = ai.uploads.complete(upload, part_ids=[first, again], md5=hashlib.md5(DATA).hexdigest())
    assert done.file is not None
    assert ai.files.content(done.file.id).content == DATA
    assert last not in (first, again)
    assert staged(service) == []
    # and asking again, having lost the answer, gives it again
    assert ai.uploads.complete(upload, part_ids=[first, again]) == done
    assert len(list(ai.files.list())) == 1


def test_parts_with_faults_become_a_file_with_a_report(ai: OpenAI) -> None:
    data = b'{"instruction": 5}\n'
    upload = begin(ai, len(data))
    done = ai.uploads.complete(upload, part_ids=send(ai, upload, data[:7], data[7:]))
    assert done.file is not None
    assert (done.status, done.file.status, done.file.bytes) == ("completed", "error", len(data))


@pytest.mark.parametrize("ids", [[0], [0, 0, 1], [1, 0, 2], ["part_x"]])
def test_other_parts_than_were_promised_are_refused(service: Service, ai: OpenAI, ids: list[Any]) -> None:
    upload = begin(ai)
    parts = [*send(ai, upload, DATA[:900], DATA[900:]), *send(ai, begin(ai), DATA[:100])]
    with pytest.raises(openai.BadRequestError) as refused:
        ai.uploads.complete(upload, part_ids=[one if isinstance(one, str) else parts[one] for one in ids])
    assert refused.value.code == "upload_mismatch"
    assert list(ai.files.list()) == []
    # and the upload may still be completed
    assert ai.uploads.complete(upload, part_ids=parts[:2]).status == "completed"


def test_a_part_counts_once(ai: OpenAI) -> None:
    upload = begin(ai, 2 * len(DATA))
    (part,) = send(ai, upload, DATA)
    with pytest.raises(openai.BadRequestError) as refused:
        ai.uploads.complete(upload, part_ids=[part, part])
    assert refused.value.code == "upload_mismatch"


def test_who_completes_at_the_same_time_makes_one_file(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    parts = send(ai, upload, DATA)
    start, told = threading.Barrier(4), []

    def complete() -> None:
        with sdk(service.url, ai.api_key) as mine:
            start.wait(10)
            try:
                told.append(mine.uploads.complete(upload, part_ids=parts).status)
            except openai.APIStatusError as refused:  # the parts may be gone while this one reads them
                told.append(str(refused.status_code))

    threads = [threading.Thread(target=complete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert "completed" in told
    assert set(told) <= {"completed", "503"}
    assert len(list(ai.files.list())) == 1
    assert ai.uploads.complete(upload, part_ids=parts).file == next(iter(ai.files.list()))


def test_another_md5_is_refused_and_nothing_is_kept(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    parts = send(ai, upload, DATA)
    before = service.kept()
    with pytest.raises(openai.BadRequestError) as refused:
        ai.uploads.complete(upload, part_ids=parts, md5="0" * 32)
    assert refused.value.code == "digest_mismatch"
    assert service.kept() == before
    assert list(ai.files.list()) == []


def test_more_parts_than_could_be_sent_again_are_refused(service: Service, ai: OpenAI) -> None:
    upload = begin(ai, 1000)
    send(ai, upload, b"x" * 1000, b"x" * 1000)
    before = staged(service)
    with pytest.raises(openai.BadRequestError) as refused:
        send(ai, upload, b"x")
    assert refused.value.code == "upload_mismatch"
    assert staged(service) == before


def test_a_cancelled_upload_is_over(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    parts = send(ai, upload, DATA)
    assert ai.uploads.cancel(upload).status == "cancelled"
    assert staged(service) == []
    for ask in (
        lambda: send(ai, upload, DATA),
        lambda: ai.uploads.complete(upload, part_ids=parts),
        lambda: ai.uploads.cancel(upload),
    ):
        with pytest.raises(openai.ConflictError) as refused:
            ask()
        assert refused.value.code == "upload_not_pending"
    assert staged(service) == []


def test_an_upload_is_waited_for_an_hour(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    with service.engine.begin() as line:
        late = text("UPDATE uploads SET created_at = created_at - interval '1 hour' WHERE id = :id")
        line.execute(late, {"id": upload})
    with pytest.raises(openai.ConflictError) as refused:
        send(ai, upload, DATA)
    assert "expired" in refused.value.message


def test_a_part_and_an_upload_have_bounds(
    service: Service, ai: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.openai.uploads.PART_BYTES", 1000)
    upload = begin(ai)
    with pytest.raises(openai.APIStatusError) as refused:
        send(ai, upload, b"x" * 1001)
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")
    with pytest.raises(openai.APIStatusError) as refused:
        begin(ai, service.settings.max_dataset_bytes + 1)
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")
    for more, param in (
        ({"size": 0}, "bytes"),
        ({"purpose": "batch"}, "purpose"),
        ({"filename": ""}, "filename"),
    ):
        with pytest.raises(openai.BadRequestError) as unfit:
            begin(ai, **more)
        assert unfit.value.param == param
    assert staged(service) == []


def test_a_project_has_so_many_unfinished_uploads_and_no_more(ai: OpenAI) -> None:
    uploads = [begin(ai) for _ in range(20)]
    with pytest.raises(openai.RateLimitError) as refused:
        begin(ai)
    assert refused.value.code == "too_many_open_uploads"
    ai.uploads.cancel(uploads[0])
    begin(ai)


def test_a_foreign_upload_reads_like_an_unknown_one(service: Service, ai: OpenAI) -> None:
    upload = begin(ai)
    parts = send(ai, upload, DATA)
    with sdk(service.url, service.key()) as stranger:
        asks = (
            lambda one: send(stranger, one, DATA),
            lambda one: stranger.uploads.complete(one, part_ids=parts),
            stranger.uploads.cancel,
        )
        for ask in asks:
            told = []
            for one in (upload, "upload_01k0000000000000000000000a", "upload_x", "x"):
                with pytest.raises(openai.NotFoundError) as unknown:
                    ask(one)
                told.append(unknown.value.body)
            assert all(one == told[0] for one in told)
    assert ai.uploads.complete(upload, part_ids=parts).status == "completed"
