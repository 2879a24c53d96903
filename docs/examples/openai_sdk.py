"""The same with OpenAI's SDK, unmodified: python docs/examples/openai_sdk.py rows.jsonl."""

import os
import sys
import time

from openai import OpenAI

with OpenAI(base_url=os.environ["NEFTUNE_URL"] + "/v1", api_key=os.environ["NEFTUNE_API_KEY"]) as client:
    with open(sys.argv[1], "rb") as rows:  # noqa: PTH123 - as the SDK's own documentation does
        file = client.files.create(file=rows, purpose="fine-tune")
    file = client.files.wait_for_processing(file.id)
    assert file.status == "processed", file.status_details  # noqa: S101 - an example

    job = client.fine_tuning.jobs.create(
        model="neftune/demo-base",
        training_file=file.id,
        # The one field that this service adds; metadata={"neftune_alpha": "5"} says it too.
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "neftune_alpha": 5}}},
    )
    while job.status not in {"succeeded", "failed", "cancelled"}:
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=5).data):
        print(event.level, event.message)
    print(job.status, job.fine_tuned_model)
