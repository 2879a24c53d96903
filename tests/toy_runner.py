"""A runner without torch that speaks the same pipe protocol, scripted by its spec's metadata.

    {"toy": "steps=20 sleep=0.05 exit=0 ..."}   (see ``main``)

Imports only the standard library, so that a start costs little and its faults are its own.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def options(spec):
    said = spec.get("metadata", {}).get("toy", "")
    return dict(part.split("=", 1) for part in said.split())


class Toy:
    def __init__(self, given):
        self.out = Path(given.out)
        self.pipe = os.fdopen(given.report_fd, "wb", buffering=0)
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_):
        self.stopped = True

    def raw(self, line):
        self.pipe.write(line)

    def say(self, **message):
        self.raw(json.dumps(message).encode() + b"\n")

    def metric(self, step, **values):
        self.say(type="metric", step=step, values=values)

    def event(self, name, **data):
        self.say(type="event", name=name, data=data)

    def result(self, spec, rows):
        adapter = self.out / "adapter"
        adapter.mkdir()
        (adapter / "adapter_model.safetensors").write_bytes(b"toy weights of " + rows[:64])
        (adapter / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": spec["model"], "peft_type": "LORA"})
        )
        (adapter / "README.md").write_text("# Toy adapter\n")
        self.say(type="artifact", name="adapter", path="adapter")
        depth = int(options(spec).get("deep", "0"))
        deep = "[" * depth + "]" * depth or "null"
        (self.out / "record.json").write_text(f'{{"toy": true, "nan": NaN, "deep": {deep}}}')
        self.say(type="artifact", name="record", path="record.json")


def misbehave(toy, toys):
    """The faults that come before the first step."""
    if "environ" in toys:  # print what can be seen, in the log and as an event
        open_files = sorted(path.name for path in Path("/proc/self/fd").iterdir())
        toy.event("run.environ", environ=dict(os.environ), open_files=open_files)
    if "log" in toys:
        block = (b"x" * 1023 + b"\n") * 1024
        for _ in range(int(toys["log"])):  # MiB
            sys.stdout.buffer.write(block)
    if "print" in toys:
        sys.stdout.write(toys["print"] + "\n")
        sys.stdout.flush()
    if "longline" in toys:
        toy.raw(b'{"type":"event","name":"run.long","data":{"x":"' + b"y" * int(toys["longline"]) + b'"}}\n')
    if "badjson" in toys:
        for _ in range(int(toys["badjson"])):
            toy.raw(b'{"type": "metric", "step": NaN}\n\xff\xfe\n')
    if "nul" in toys:
        toy.event("run.nul", text="a\x00b")
    if "forge" in toys:
        toy.event("run.started", forged=True)
        toy.event("job.succeeded", forged=True)
    if "child" in toys and os.fork() == 0:  # it outlives its parent unless somebody ends the group
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", nargs="?")
    parser.add_argument("spec")
    parser.add_argument("rows")
    parser.add_argument("out")
    parser.add_argument("--validation-rows")
    parser.add_argument("--model-dir")
    parser.add_argument("--report-fd", type=int)
    given = parser.parse_args()
    spec = json.loads(Path(given.spec).read_text())
    rows = Path(given.rows).read_bytes()
    toys = options(spec)
    toy = Toy(given)
    steps = int(toys.get("steps", "5"))

    toy.event("run.planned", total_steps=steps, rows=rows.count(b"\n"))
    if "inputs" in toys:  # say what was laid out for us
        held_out = given.validation_rows and hashlib.sha256(Path(given.validation_rows).read_bytes())
        toy.event(
            "run.inputs",
            spec=spec,
            rows=hashlib.sha256(rows).hexdigest(),
            validation_rows=held_out and held_out.hexdigest(),
            model=given.model_dir,
        )
    misbehave(toy, toys)
    if "deaf" in toys:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(steps + 1):
        if toy.stopped:
            sys.exit(75)
        if str(step) == toys.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(step) == toys.get("hang"):
            time.sleep(600)
        if str(step) == toys.get("fail"):
            toy.say(
                type="failed",
                code=toys.get("code", "nan_loss"),
                detail="The toy was told to fail.",
                retryable="retryable" in toys,
            )
            sys.exit(1)
        if str(step) == toys.get("once"):  # crash in the first attempt only: a marker outside our folder
            marker = Path(toys["marker"])
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        toy.metric(step, train_loss=2.0 / (step + 1), learning_rate=1e-4, epoch=step / max(steps, 1))
        time.sleep(float(toys.get("sleep", "0.01")))
    if "backwards" in toys:
        toy.metric(1, train_loss=0.0)
    if "empty" not in toys:
        toy.result(spec, rows)
    if "escape" in toys:
        toy.say(type="artifact", name="adapter", path="../../../../../../../../../etc")
    toy.event("run.completed", steps=steps)
    sys.exit(int(toys.get("exit", "0")))


if __name__ == "__main__":
    main()
