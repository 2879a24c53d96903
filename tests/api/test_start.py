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
sys.modules["rich"] = None  # tools of tests bring it, the api's image lacks it; structlog takes what it finds
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
    pairs = [(cost_of("api.main"), cost_of(LIBRARIES)) for _ in range(4)]
    cpu, libraries = min(one.cpu for one, _ in pairs), min(other.cpu for _, other in pairs)
    ratio = min(one.cpu / other.cpu for one, other in pairs)  # of two that shared their moment
    mb = min(one.mb for one, _ in pairs)
    told = f"import api.main: {cpu:.2f} CPU-s ({libraries:.2f} of them libraries), {mb:.0f} MB"
    sys.stdout.write(told + "\n")

    assert not pairs[0][0].modules & HEAVY
    assert mb <= MEGABYTES
    assert cpu <= CPU_SECONDS or ratio <= OVER_LIBRARIES


def test_importing_the_api_opens_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, check=False, timeout=60, env={}
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
