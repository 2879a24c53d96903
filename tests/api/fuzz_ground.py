"""What two projects have while they are fuzzed: an id of every list, one of ours and one of a stranger's."""

from dataclasses import replace

import httpx
from fastapi import FastAPI

from tests.api.fuzz_cases import targets
from tests.api.fuzz_wire import Answer, Case, ask
from tests.api.live_api import Service, rows, submit, succeed, upload


class Ground:
    """Ids by the list they stand in; what a case makes or sees is learnt and used by later ones."""

    def __init__(self, service: Service, *, ended: bool, operator: bool = False) -> None:
        self.app: FastAPI = service.server.config.app  # type: ignore[assignment]  # ours is a FastAPI app
        self.own_key, self.their_key = service.key(), service.key()
        asking = service.key("operator") if operator else self.own_key
        self.ids: dict[bytes, bytes] = {b"@key@": asking.encode()}
        for whose, key in (("own", self.own_key), ("their", self.their_key)):
            with service.client(key) as client:
                self._lay(service, client, whose, ended=ended)

    def _lay(self, service: Service, client: httpx.Client, whose: str, *, ended: bool) -> None:
        self._name(whose, "/projects", client.get("/session").json()["project"]["id"])
        dataset = upload(client)["id"]
        job = submit(client, dataset=dataset)["id"]
        if ended:
            job = succeed(service, client, adapter=(b"bytes", "application/x-tar"))["id"]
        part = self._upload_in_parts(client, whose)
        hook = client.post("/webhooks", json={"url": "https://example.org/hook"}).json()["id"]
        self._name(whose, "/datasets", dataset)
        self._name(whose, "/jobs", job)
        self._name(whose, "/jobs/*/artifacts", "adapter")
        self._name(whose, "/webhooks", hook)
        self._name(whose, "/v1/uploads/*/parts", part)
        self._name(whose, "/v1/files", dataset.replace("ds_", "file-", 1))
        self._name(whose, "/v1/fine_tuning/jobs", job.replace("job_", "ftjob-", 1))

    def _upload_in_parts(self, client: httpx.Client, whose: str) -> str:
        data = rows()
        promised = {"bytes": len(data), "filename": "x", "mime_type": "", "purpose": "fine-tune"}
        begun = client.post("/v1/uploads", json=promised).json()["id"]
        self._name(whose, "/v1/uploads", begun)
        return str(client.post(f"/v1/uploads/{begun}/parts", files={"data": data}).json()["id"])

    def asked_by_its_asker(self, case: Case) -> Case:
        """Put ids into their places; an operator says which project is meant, unless the case does."""
        sent = case.filled(self.ids)
        if self.ids[b"@key@"] != self.own_key.encode() and b"neftune-project" not in dict(sent.headers):
            project = (b"neftune-project", self.ids[b"@own:/projects@"])
            sent = replace(sent, headers=(*sent.headers, project))
        return sent

    async def look_around(self) -> None:
        """Learn an id from every list that can be asked for."""
        for target in targets(self.app):
            if target.method == "GET" and "{" not in target.path:
                for whose, key in (("own", self.own_key), ("their", self.their_key)):
                    headers = ((b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode()))
                    self.learn(
                        target.path,
                        await ask(self.app, Case("GET", target.path.encode(), b"", headers)),
                        whose,
                    )

    def learn(self, path: str, answer: Answer, whose: str = "own") -> None:
        """Note the id of what an answer shows."""
        found = (
            answer.told()
            if answer.status < 300 and "json" in answer.headers.get("content-type", "")
            else None
        )
        if not isinstance(found, dict) or path.endswith("}"):
            return
        listed = found.get("items", found.get("data", [found]))
        first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
        name = first.get("id", first.get("name"))
        if isinstance(name, str):
            self._name(whose, _starred(path), name)

    def _name(self, whose: str, listed: str, value: str) -> None:
        self.ids[f"@{whose}:{listed}@".encode()] = value.encode()


def _starred(path: str) -> str:
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))
