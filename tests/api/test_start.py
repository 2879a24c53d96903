"""What it costs to import the api, and what the import must not drag in or open."""

import json
import subprocess
import sys
from dataclasses import dataclass

from api.main import _ROUTERS

CPU_SECONDS = 0.7
# CPU-seconds swell on a shared machine; then the libraries alone, beside it, are the measure. A route costs
# about a hundredth of what they do.
OVER_LIBRARIES = 1.2 + 0.01 * sum(len(router.routes) for router in _ROUTERS)
MEGABYTES = 100
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "pyarrow", "datasets"}
LIBRARIES = "fastapi, sqlalchemy.orm, psycopg, structlog, pydantic_settings"

MEASURE = """
import json, re, resource, sys
# What only tools of tests bring and the api's image lacks: structlog and SQLAlchemy load what they find.
sys.modules["rich"] = sys.modules["greenlet"] = None
import {what}
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: it remembers the size of the process that forked this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
modules = sorted({{name.partition(".")[0] for name in sys.modules}})
print(json.dumps([used.ru_utime + used.ru_stime, peak, modules]))
"""
WATCHED = """
import sys
def watch(event, args):
    if event in {"socket.__new__", "socket.connect", "subprocess.Popen", "os.fork", "tempfile.mkdtemp"}:
        raise AssertionError(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise AssertionError(args[:2])
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import api.main
"""


@dataclass(frozen=True)
class Cost:
    cpu: float
    mb: float
    modules: frozenset[str]


def cost_of(what: str) -> Cost:
    script = MEASURE.format(what=what)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=120)
    cpu, mb, modules = json.loads(done.stdout)
    return Cost(cpu, mb, frozenset(modules))


def test_importing_the_api_is_cheap_and_loads_no_training_stack() -> None:
    cost_of("api.main")  # compiles what is not compiled yet
    for _ in range(4):  # a busy moment makes an import dear, a dear import never makes a cheap one
        ours, libraries = cost_of("api.main"), cost_of(LIBRARIES)
        if ours.cpu <= CPU_SECONDS or ours.cpu <= OVER_LIBRARIES * libraries.cpu:
            break
    told = f"import api.main: {ours.cpu:.2f} CPU-s ({libraries.cpu:.2f} libraries alone), {ours.mb:.0f} MB"
    sys.stdout.write(told + "\n")

    assert not ours.modules & HEAVY
    assert ours.mb <= MEGABYTES
    assert ours.cpu <= CPU_SECONDS or ours.cpu <= OVER_LIBRARIES * libraries.cpu


def test_importing_the_api_opens_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, check=False, timeout=60, env={}
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
