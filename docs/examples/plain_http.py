"""Rows in, adapter out, over plain HTTP: python docs/examples/plain_http.py rows.jsonl adapter.tar."""

import hashlib
import json
import os
import sys
import uuid
from pathlib import Path

import httpx

ENDED = {"succeeded", "failed", "cancelled"}
rows, out = map(Path, sys.argv[1:])

with httpx.Client(
    base_url=os.environ["NEFTUNE_URL"],
    headers={"Authorization": f"Bearer {os.environ['NEFTUNE_API_KEY']}"},
    timeout=60,
) as client:

    def ask(method: str, path: str, **request: object) -> httpx.Response:
        """Give the answer, or end with what the service says is wrong."""
        answer = client.request(method, path, **request)
        if answer.is_error:
            problem = answer.json()
            sys.exit(f"{problem['code']}: {problem['detail']} {problem['errors']}")
        return answer

    dataset = ask("POST", "/datasets", params={"name": rows.name}, content=rows.read_bytes()).json()
    print("dataset", dataset["id"], dataset["rows"], "rows")

    spec = {"model": "neftune/demo-base", "dataset": dataset["id"], "alpha": 5, "training": {"epochs": 1}}
    # The same key with the same body is the same job, so this may be sent again when no answer came.
    job = ask("POST", "/jobs", json=spec, headers={"Idempotency-Key": str(uuid.uuid4())}).json()
    print("job", job["id"])

    last, status = "0", job["status"]
    while status not in ENDED:
        try:  # a stream ends by itself after ten minutes, and lines break: go on after the last message
            with client.stream("GET", f"/jobs/{job['id']}/stream", headers={"Last-Event-ID": last}) as stream:
                for line in stream.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "event":
                        kind = value
                    elif name == "data" and kind == "metric":
                        print(value)
                    elif name == "data" and kind == "status":
                        status = json.loads(value)["status"]
                        print(status)
        except httpx.TransportError:
            continue
    if status != "succeeded":
        sys.exit(str(ask("GET", f"/jobs/{job['id']}").json()["error"]))

    adapter = ask("GET", f"/jobs/{job['id']}/artifacts/adapter", follow_redirects=True)
    wanted = client.head(f"/jobs/{job['id']}/artifacts/adapter").headers["etag"].strip('"')
    if hashlib.sha256(adapter.content).hexdigest() != wanted:
        sys.exit("The adapter did not arrive as it was sent.")
    out.write_bytes(adapter.content)
    print("adapter", out, len(adapter.content), "bytes")
