"""What it costs to ask for help, and to have the client at hand."""

import json
import subprocess
import sys

CPU_SECONDS = 0.35
MEASURE = """
import json, resource, sys
sys.argv = ["neftune", "--help"]
from neftune_client.cli.main import run
assert run() == 0
used = resource.getrusage(resource.RUSAGE_SELF)
modules = sorted({name.partition(".")[0] for name in sys.modules})
sys.stderr.write(json.dumps([used.ru_utime + used.ru_stime, modules]))
"""
NOT_NEEDED = {
    "httpx",
    "torch",
    "numpy",
    "fastapi",
    "sqlalchemy",
    "standalone",
    "api",
    "neftune_core",
    "neftune_store",
}


def test_help_loads_no_http_and_nothing_of_the_service() -> None:
    costs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True, timeout=60)
        cpu, modules = json.loads(done.stderr)
        costs.append(cpu)
        assert not NOT_NEEDED & set(modules)
        assert b"submit" in done.stdout
        assert b"Exit status" in done.stdout
    assert min(costs) < CPU_SECONDS


def test_the_client_alone_loads_nothing_of_the_service_or_the_terminal() -> None:
    script = "import sys; from neftune_client import Client, Refused; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "httpx" in loaded
    assert not (NOT_NEEDED - {"httpx"} | {"typer"}) & loaded
