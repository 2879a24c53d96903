"""`neftune`: the commands put together, and the one place where a fault becomes a sentence and a status.

0  done; with --watch: the job succeeded        4  the job was cancelled
1  refused, or failed on the way                5  the service does not answer
2  not understood: options, files, no login   130  Ctrl-C; a job that was submitted goes on
3  the job failed
"""

import os
import sys
from collections.abc import Sequence

import typer

from neftune_client.cli import (
    chatting,
    datasets,
    fetching,
    jobs,
    keys,
    service,
    submitting,
    sweeping,
    terminal,
)
from neftune_client.errors import ClientError, Refused

_ABOUT = """Fine-tune language models with NEFTune, over the service's API.

The service is found by NEFTUNE_URL and NEFTUNE_API_KEY, else by `neftune login`,
else where one runs on this machine.

Exit status: 0 done, 1 refused, 2 not understood, 3 the job failed, 4 it was cancelled,
5 no answer, 130 Ctrl-C.
"""

app = typer.Typer(
    name="neftune",
    help=_ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # no traceback with local variables: one of them is the key
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Jobs": (
        *(submitting.submit, jobs.jobs, jobs.show, jobs.watch, jobs.logs),
        *(jobs.cancel, jobs.pause, jobs.resume, jobs.retry, jobs.clone, fetching.download),
    ),
    "Series": (sweeping.sweep, sweeping.sweeps, sweeping.verdict),
    "Models": (chatting.chat, service.models),
    "The service": (service.up, service.login, service.logout),
}
for _panel, _verbs in _PANELS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(datasets.app, name="datasets", rich_help_panel="Data")
app.add_typer(keys.app, name="keys", rich_help_panel="The service")


def run(argv: Sequence[str] | None = None) -> int:
    """Do what was asked and give the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        app(args=words, prog_name="neftune")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ClientError as error:
        _complain(error, as_json="--json" in words)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read us has enough (`neftune jobs | head`); the interpreter must not try to write again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def main() -> None:
    """Be the console script."""
    sys.exit(run())


def _complain(error: ClientError, *, as_json: bool) -> None:
    if not as_json:
        terminal.note(f"{'' if isinstance(error, Refused) else 'Error: '}{error}", "red")
        return
    told = dict(error.problem) if isinstance(error, Refused) else {"code": error.code, "detail": str(error)}
    sys.stderr.write(terminal.as_line(told))
