"""`neftune chat`: a question to a base, to what a job has made, or to a checkpoint, answered word by word.

With a question it answers once. Without one, at a terminal, it is a conversation that ends with Ctrl-D; from
a pipe the question is what comes in. Ctrl-C ends the answer, and with it the work on it.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neftune_client.cli import options, terminal
from neftune_client.cli.following import INTERRUPTED
from neftune_client.cli.jobs import identified
from neftune_client.errors import BadInput

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client

Turns = list[dict[str, str]]


def chat(  # noqa: PLR0913, PLR0917 - each option, by name
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A base, a job's id, `last`, or `job_…:ckpt-step-20`.")
    ],
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Left out: a conversation, or what a pipe says.")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option("--beside", "-b", help="Ask this model, too; may be given again.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="What stands above it all.")] = None,
    template: Annotated[
        str | None,
        typer.Option(help="chat, vicuna, alpaca, plain or none. (as it was trained)"),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", "-t", help="The longest answer, in tokens. (256)")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0: always the likeliest token; above, by chance. (0)")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same answer.")] = None,
    json: options.Json = False,
) -> None:
    """Ask a model, and read the answer while it is said; Ctrl-C stops it.

    Examples: `neftune chat last "What does the keeper do?"`,
    `neftune chat last --beside neftune/demo-base "What does the keeper do?"`
    """
    how = {"template": template, "max_new_tokens": tokens, "temperature": temperature, "seed": seed}
    asked: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
    with terminal.connected() as client:
        models = [_named(client, one) for one in (model, *(beside or ()))]
        asked["model"] = models[0] if len(models) == 1 else models
        if question is None and sys.stdin.isatty():
            if json or len(models) > 1:
                raise BadInput("With --json or --beside, say the question behind the model's name.")
            _converse(client, asked, _opened(system))
            return
        prompt = question if question is not None else sys.stdin.read().strip()
        if not prompt:
            raise BadInput("There is no question in what was given.")
        put = {"messages": _turns(system, prompt)} if system else {"prompt": prompt}
        try:
            for said in _answered(client, {**asked, **put}, shown=not json, titled=len(models) > 1):
                if json:
                    terminal.document(said)
        except KeyboardInterrupt:
            terminal.note("")
            raise typer.Exit(INTERRUPTED) from None


def _converse(client: "Client", asked: dict[str, Any], turns: Turns) -> None:
    """Ask and answer in turn until Ctrl-D; Ctrl-C ends an answer, and at the prompt the conversation."""
    terminal.note("Ctrl-C stops an answer, Ctrl-D ends the conversation.", "dim")
    while (line := _typed()) is not None:
        if not line.strip():
            continue
        turns.append({"role": "user", "content": line})
        try:
            (said,) = _answered(client, {**asked, "messages": turns}, shown=True)
            turns.append({"role": "assistant", "content": said["text"]})
        except KeyboardInterrupt:
            terminal.note("\n(stopped; the question is forgotten)", "dim")
            turns.pop()


def _answered(
    client: "Client", question: dict[str, Any], *, shown: bool, titled: bool = False
) -> Iterator[dict[str, Any]]:
    """Write what is said as it is said, each answer under its model's name; give each when it is whole."""
    under = -1
    for message in client.ask(question):
        if message.kind == "text" and shown:
            if titled and message.data["index"] != under:
                under = message.data["index"]
                terminal.say(f"--- {question['model'][under]}", "dim")
            terminal.piece(message.data["text"])
        elif message.kind == "answer":
            if shown:
                terminal.piece("\n")
                if message.data["finish_reason"] == "length":
                    terminal.note("(cut at its longest; --tokens allows more)", "dim")
            yield message.data


def _named(client: "Client", model: str) -> str:
    """Give the model's name; `last` is what the newest job has made, and `last:ckpt-step-20` a part of it."""
    name, colon, step = model.partition(":")
    return identified(client, name) + colon + step


def _typed() -> str | None:
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        terminal.note("")
        return None


def _opened(system: str | None) -> Turns:
    return [{"role": "system", "content": system}] if system else []


def _turns(system: str | None, prompt: str) -> Sequence[dict[str, str]]:
    return [*_opened(system), {"role": "user", "content": prompt}]
