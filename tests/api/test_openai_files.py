"""Files through the official SDK: taken in, listed by pages, read and deleted."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai import OpenAI

from tests.api.live_api import Service, rows, submit, succeed, upload
from tests.api.openai_sdk import CHAT, create, key_of, put, sdk

FAULTY = b'{"messages": []}\n' + b'{"prompt": "a", "completion": ""}\n' * 3


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK, with the key that `client` has."""
    with sdk(service.url, key_of(client)) as found:
        yield found


def test_a_file_is_taken_in_and_comes_back_byte_for_byte(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai, CHAT, "../../support \u202egnp.jsonl")

    assert file.id.startswith("file-")
    assert (file.object, file.bytes, file.purpose, file.status) == (
        "file",
        len(CHAT),
        "fine-tune",
        "processed",
    )
    assert file.filename == "../../support gnp.jsonl"
    assert ai.files.wait_for_processing(file.id).status == "processed"
    assert ai.files.retrieve(file.id) == file
    answer = ai.files.content(file.id)
    assert answer.content == CHAT
    assert answer.response.headers["content-disposition"].startswith("attachment")
    assert (file.model_extra or {})["validation"]["rows"] == 12
    assert client.get(f"/datasets/{file.id.replace('file-', 'ds_')}").json()["format"] == "messages"


def test_a_native_dataset_is_a_file_too(ai: OpenAI, client: httpx.Client) -> None:
    dataset = upload(client, name="mine.jsonl")
    (file,) = ai.files.list()
    assert (file.id, file.filename) == (dataset["id"].replace("ds_", "file-"), "mine.jsonl")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (FAULTY, "dataset_invalid"),
        (b" \n", "dataset_empty"),
        (b"\xff\xfeh\x00", "dataset_encoding"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 3_000_000, "unsupported_media"),
        (b"no rows here, " * 300_000, "dataset_format"),
    ],
    ids=["rows", "empty", "utf-16", "picture", "text"],
)
def test_a_file_with_faults_keeps_its_report_and_not_its_bytes(
    service: Service, ai: OpenAI, client: httpx.Client, data: bytes, code: str
) -> None:
    before = service.kept()
    file = put(ai, data)

    assert (file.status, file.bytes) == ("error", len(data))
    report = (file.model_extra or {})["validation"]
    assert report["code"] == code
    assert file.status_details == report["detail"]
    assert ai.files.wait_for_processing(file.id).status == "error"
    assert service.kept() == before
    assert client.get("/datasets").json()["items"] == []
    with pytest.raises(openai.BadRequestError) as unread:
        ai.files.content(file.id)
    assert unread.value.code == "file_faulty"
    with pytest.raises(openai.BadRequestError) as refused:
        create(ai, file.id)
    assert (refused.value.code, refused.value.param) == ("file_faulty", "training_file")
    assert ai.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        ai.files.retrieve(file.id)


def test_a_report_names_faults_by_line_and_how_many_there_are(ai: OpenAI) -> None:
    report = (put(ai, rows(2) + b'{"instruction": 5}\n' * 3).model_extra or {})["validation"]
    assert {one["line"] for one in report["errors"]} == {3, 4, 5}
    assert set(report["errors"][0]) == {"line", "code", "msg", "path"}
    assert sum(report["counts"].values()) >= 3


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_files_are_paged_by_age_whatever_they_are(
    service: Service, ai: OpenAI, client: httpx.Client, order: str
) -> None:
    good, bad = put(ai), put(ai, FAULTY)
    job = succeed(service, client, **{"results.csv": (b"step,train_loss\n1,2.0\n", "text/csv")})
    newest = put(ai)
    by_age = [good.id, bad.id, job["spec"]["dataset"].replace("ds_", "file-"), "results", newest.id]

    found = list(ai.files.list(limit=2, order=order))  # type: ignore[arg-type]  # one of the two words

    shown = ["results" if file.purpose == "fine-tune-results" else file.id for file in found]
    assert shown == (by_age if order == "asc" else by_age[::-1])


def test_a_page_goes_on_after_a_file_that_was_deleted_meanwhile(ai: OpenAI) -> None:
    files = [put(ai) for _ in range(3)]
    ai.files.delete(files[1].id)
    assert [file.id for file in ai.files.list(after=files[1].id)] == [files[0].id]


def test_files_are_listed_by_purpose(service: Service, ai: OpenAI, client: httpx.Client) -> None:
    succeed(
        service, client, **{"results.csv": (b"step\n", "text/csv"), "metrics.csv": (b"step\n", "text/csv")}
    )
    (results,) = ai.files.list(purpose="fine-tune-results")
    assert ai.files.content(results.id).text == "step\n"
    assert len(list(ai.files.list(purpose="fine-tune"))) == 1
    assert list(ai.files.list(purpose="batch")) == []
    with pytest.raises(openai.ConflictError) as kept:
        ai.files.delete(results.id)
    assert kept.value.code == "file_belongs_to_job"


def test_a_file_that_a_job_needs_is_kept(ai: OpenAI, client: httpx.Client) -> None:
    job = submit(client)
    with pytest.raises(openai.ConflictError) as refused:
        ai.files.delete(job["spec"]["dataset"].replace("ds_", "file-"))
    assert refused.value.code == "dataset_in_use"
    assert refused.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "purpose", ["assistants", "batch", "vision", "user_data", "evals", "fine-tune-results", ""]
)
def test_other_purposes_are_refused_and_nothing_is_kept(service: Service, ai: OpenAI, purpose: str) -> None:
    before = service.kept()
    with pytest.raises(openai.BadRequestError) as refused:
        ai.files.create(file=("rows.jsonl", rows()), purpose=purpose)  # type: ignore[arg-type]  # on purpose
    assert (refused.value.code, refused.value.param) == ("unsupported_purpose", "purpose")
    assert service.kept() == before
    assert list(ai.files.list()) == []


def test_a_purpose_after_the_file_is_looked_at_too(service: Service, client: httpx.Client) -> None:
    def form(*parts: bytes) -> httpx.Response:
        body = b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        return client.post("/v1/files", content=body + b"--x--\r\n", headers=kind)

    before = service.kept()
    file = b'name="file"; filename="rows.jsonl"\r\n\r\n' + rows()
    for parts in ((file,), (file, b'name="purpose"\r\n\r\nbatch')):
        answer = form(*parts)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "purpose")
    assert service.kept() == before
    assert form(file, b'name="purpose"\r\n\r\nfine-tune').status_code == 200


def test_a_file_that_would_expire_is_refused_for_it_would_not(ai: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ai.files.create(
            file=("rows.jsonl", rows()),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
    assert refused.value.param == "expires_after"


def test_a_foreign_file_reads_like_an_unknown_one(service: Service, ai: OpenAI) -> None:
    file = put(ai).id
    with sdk(service.url, service.key()) as stranger:
        for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
            told = []
            for one in (file, "file-01k0000000000000000000000a", "file-", "ds_x", "file-\u00e4"):
                with pytest.raises(openai.NotFoundError) as unknown:
                    ask(one)
                told.append(unknown.value.body)
            assert all(one == told[0] for one in told)
        with pytest.raises(openai.NotFoundError):
            list(stranger.files.list(after=file))
