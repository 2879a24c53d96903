"""A runner without torch that speaks the same pipe protocol, scripted by its spec's metadata.

    {"toy": "steps=20 sleep=0.05 exit=0 ..."}   (see ``main``)

Imports no torch, so that a start costs little and its faults are its own. ``ckpt=5`` saves every 5 steps.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from neftune_core.failpoint import failpoint


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

    def event(self, name, /, **data):
        self.say(type="event", name=name, data=data)

    def result(self, spec, rows):
        adapter = self.out / "adapter"
        adapter.mkdir()
        with (adapter / "adapter_model.safetensors").open("wb") as weights:
            weights.write(b"toy weights of " + rows[:64])
            for number in range(int(options(spec).get("weights_mb", "0"))):
                weights.write(hashlib.sha256(str(number).encode()).digest() * 32_768)
        (adapter / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": spec["model"], "peft_type": "LORA"})
        )
        (adapter / "README.md").write_text("# Toy adapter\n")
        self.say(type="artifact", name="adapter", path="adapter")
        depth = int(options(spec).get("deep", "0"))
        deep = "[" * depth + "]" * depth or "null"
        told = json.dumps(spec)
        (self.out / "record.json").write_text(f'{{"toy": true, "nan": NaN, "deep": {deep}, "spec": {told}}}')
        self.say(type="artifact", name="record", path="record.json")


class Checkpoints:
    """Saved as the real runner saves: a folder that appears whole, the last two kept, then announced."""

    def __init__(self, toy, given, toys):
        self.toy, self.folder = toy, toy.out / "checkpoints"
        self.on, self.every = given.checkpoints, int(toys.get("ckpt", "0"))
        self.bytes = int(toys.get("ckpt_bytes", "100"))
        self.saved = self.begun = max(self._steps(), default=0) if given.resume else 0
        if self.begun:
            state = json.loads((self._at(self.begun) / "state.json").read_text())
            toy.event("run.resumed", step=state["step"])

    def due(self, step):
        return self.on and step and self.every and step % self.every == 0

    def save(self, step):
        if not self.on or step <= self.saved:
            return
        passing = self.folder / f"step-{step:08d}.tmp"
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir(parents=True)
        (passing / "state.json").write_text(json.dumps({"step": step}))
        weights = hashlib.sha256(str(step).encode()).digest() * (self.bytes // 32 + 1)
        (passing / "weights.safetensors").write_bytes(weights[: self.bytes])
        failpoint("checkpoint.written")
        passing.rename(self._at(step))
        self.saved = step
        self.toy.say(type="checkpoint", step=step, path=f"checkpoints/step-{step:08d}")
        for old in sorted(self._steps())[:-2]:
            shutil.rmtree(self._at(old))

    def _steps(self):
        found = self.folder.glob("step-????????") if self.folder.is_dir() else ()
        return [int(path.name.removeprefix("step-")) for path in found]

    def _at(self, step):
        return self.folder / f"step-{step:08d}"


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
    if "bareline" in toys:  # MiB in one line
        sys.stdout.buffer.write(b"z" * (int(toys["bareline"]) << 20))
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


def strain(toy, toys):
    """The faults that try a limit."""
    if "orphan" in toys:  # out of the group, away from the parent, and deaf
        start = "import os,signal,time;signal.signal(15,signal.SIG_IGN);os.setsid();time.sleep(600)"
        if os.fork() == 0:
            os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", start, str(toy.out)])
            os._exit(0)
        os.wait()
    if "hog" in toys:  # MiB
        toy.hog = os.urandom(1 << 20) * int(toys["hog"])
    if "leak" in toys:  # open files until it is refused one
        toy.leak = []
        try:
            while True:
                toy.leak.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as refused:
            toy.event("run.refused", files=len(toy.leak), errno=refused.errno)
            for handle in toy.leak:
                os.close(handle)


def asked():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", nargs="?")
    parser.add_argument("spec")
    parser.add_argument("rows")
    parser.add_argument("out")
    parser.add_argument("--validation-rows")
    parser.add_argument("--model-dir")
    parser.add_argument("--report-fd", type=int)
    parser.add_argument("--shared-tokens")
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def stumble(toy, toys, step):
    """The faults of one step."""
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


def share(given, toys):
    """Leave what others left, and a byte more."""
    if "tokens" in toys and given.shared_tokens is not None:
        path = Path(given.shared_tokens)
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b"x")


def walk(toy, spec, steps, checkpoints):
    toys = options(spec)
    for step in range(checkpoints.begun + 1 if checkpoints.begun else 0, steps + 1):
        if toy.stopped:
            checkpoints.save(step - 1)
            sys.exit(75)
        stumble(toy, toys, step)
        if step == checkpoints.begun + int(toys.get("dieafter", steps + 1)):  # so many steps into each run
            time.sleep(1)  # long enough for its checkpoint to be kept
            os.kill(os.getpid(), signal.SIGKILL)
        held_out = {}
        if "evals" in toys and step % int(toys["evals"]) == 0:  # best with an alpha of 10
            held_out["eval_loss"] = 4.0 + abs(spec["alpha"] - 10.0) / 10 - step / 1000
        toy.metric(
            step, train_loss=2.0 / (step + 1), learning_rate=1e-4, epoch=step / max(steps, 1), **held_out
        )
        if checkpoints.due(step):
            checkpoints.save(step)
        time.sleep(float(toys.get("sleep", "0.01")))
    if "ckpt" in toys:
        checkpoints.save(steps)


def export(given):
    """The other verb: ``exporting`` seconds of waiting, then a folder."""
    toys = options(json.loads(Path(given.spec).read_text())["spec"])
    toy = Toy(given)
    toy.event("export.loading", adapter=sorted(path.name for path in Path(given.rows).iterdir()))
    until = time.monotonic() + float(toys.get("exporting", "0"))
    while time.monotonic() < until:
        time.sleep(0.02)
        if toy.stopped:
            sys.exit(75)
    merged = toy.out / "merged"
    merged.mkdir()
    (merged / "model.safetensors").write_bytes(
        b"merged " + (Path(given.rows) / "adapter_model.safetensors").read_bytes()
    )
    (merged / "config.json").write_text("{}")
    toy.say(type="artifact", name="merged", path="merged")
    (toy.out / "record.json").write_text('{"export": "merged"}')
    toy.say(type="artifact", name="record", path="record.json")
    toy.event("export.completed")
    sys.exit(0)


def asked_to_measure():
    parser = argparse.ArgumentParser()
    for name in ("verb", "spec", "out"):
        parser.add_argument(name)
    for name in ("job", "tuned", "step", "model-dir", "rows", "validation-rows", "benchmarks", "other"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--report-fd", type=int)
    return parser.parse_args()


def asked_to_judge():
    parser = argparse.ArgumentParser()
    for name in ("verb", "kind", "folder"):
        parser.add_argument(name)
    parser.add_argument("--others")
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--ask-nobody", action="store_true")
    for name in ("report-fd", "key-fd"):
        parser.add_argument(f"--{name}", type=int)
    return parser.parse_args()


def evaluate(given):
    """Three parts, each kept as the real runner keeps them; ``evaluating`` seconds for each."""
    toys = options(json.loads(Path(given.job).read_text()))
    toy = Toy(given)
    spec = json.loads(Path(given.spec).read_text())
    tuned = given.tuned and Path(given.tuned)
    files = sorted(tuned.iterdir()) if tuned and tuned.is_dir() else [tuned] if tuned else []
    parts = toy.out / "parts"
    found = sorted(toy.out.glob("checkpoints/step-*"))
    if found:
        shutil.copytree(found[-1], parts)
    parts.mkdir(exist_ok=True)
    names = ["one", "two", "three"]
    done = [name for name in names if (parts / name).exists()]
    toy.event("evaluation.planned", parts=names, done=len(done))
    if "environ" in toys:
        toy.event("evaluation.environ", environ=dict(os.environ), arguments=sys.argv)
    for number, name in enumerate(names, 1):
        if name not in done:
            until = time.monotonic() + float(toys.get("evaluating", "0"))
            while time.monotonic() < until and not toy.stopped:
                time.sleep(0.02)
            if toy.stopped:
                sys.exit(75)
            toy.event("evaluation.progress", name=name, done=1, of=2)
            (parts / name).write_text(str(os.getpid()))
            shutil.copytree(parts, toy.out / "checkpoints" / f"step-{number:08d}")
            toy.say(type="checkpoint", step=number, path=f"checkpoints/step-{number:08d}")
            time.sleep(0.2 if "evaluating" in toys else 0)  # long enough for it to be kept
        toy.event("evaluation.part", name=name, number=number, of=len(names))
    results = {
        "spec": spec,
        "weights": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "step": given.step,
        "rows": {
            place: hashlib.sha256(Path(path).read_bytes()).hexdigest()
            for place, path in [("rows", given.rows), *(one.split("=", 1) for one in given.data)]
            if path
        },
        "template": json.loads(Path(given.job).read_text())["training"]["template"],
        "pids": [(parts / name).read_text() for name in names],
        "missing": [],
    }
    leave(toy, results)


def leave(toy, results):
    folder = toy.out / "evaluation"
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results))
    toy.say(type="artifact", name="evaluation", path="evaluation")
    sys.exit(0)


def judge(given):
    """The second child: says of what it was given only hashes; ``judging`` tells how it ends."""
    toys = options(json.loads((Path(given.folder).parent.parent / "job.json").read_text()))
    given.out = Path(given.folder).parent
    toy = Toy(given)
    key = b"" if given.key_fd is None else os.fdopen(given.key_fd, "rb").read()
    seen = f"{dict(os.environ)} {sys.argv}"
    toy.event("judge.heard", key=hashlib.sha256(key).hexdigest(), seen=bool(key) and key.decode() in seen)
    toy.event("judge.progressed", answered=1, of=4)
    if "judging_s" in toys:  # what it has heard is saved at once
        folder = toy.out / "checkpoints" / "step-00000009"
        shutil.copytree(toy.out / "parts", folder, dirs_exist_ok=True)
        (folder / "judge_answers.jsonl").write_text("paid-for\n")
        toy.say(type="checkpoint", step=9, path="checkpoints/step-00000009")
    until = time.monotonic() + float(toys.get("judging_s", "0"))
    while time.monotonic() < until and not toy.stopped:
        time.sleep(0.02)
    if toy.stopped:
        sys.exit(75)
    if toys.get("judging") == "dieagain" or (toys.get("judging") == "die" and not given.ask_nobody):
        os.kill(os.getpid(), signal.SIGKILL)
    if toys.get("judging") == "fail":
        toy.say(type="failed", code="invalid_spec", detail="The key is no word.", retryable=False)
        sys.exit(1)
    answers = toy.out / "evaluation" / "judge_answers.jsonl"
    known = answers.read_text() if answers.exists() else ""
    results = json.loads((toy.out / "evaluation" / "results.json").read_text())
    results["judge"] = {"known": known.split(), "allow": given.allow, "others": given.others}
    results["judge"]["asked"] = not given.ask_nobody
    answers.write_text(known + f"answer-{len(known.split())}\n")
    leave(toy, results)


def main():
    if sys.argv[1:3] == ["evaluate", "judge-folder"]:
        judge(asked_to_judge())
    if sys.argv[1] == "evaluate":
        evaluate(asked_to_measure())
    given = asked()
    if given.verb == "export":
        export(given)
    spec = json.loads(Path(given.spec).read_text())
    rows = Path(given.rows).read_bytes()
    toys = options(spec)
    toy = Toy(given)
    steps = int(toys.get("steps", "5"))

    time.sleep(float(toys.get("load", "0")))
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
    share(given, toys)
    misbehave(toy, toys)
    strain(toy, toys)
    if "deaf" in toys:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    walk(toy, spec, steps, Checkpoints(toy, given, toys))
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
