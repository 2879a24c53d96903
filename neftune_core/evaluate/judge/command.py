"""``python -m neftune_core evaluate judge`` and ``win-rate``: what may be said; :mod:`.files` does it.

The key comes by an environment variable or a file descriptor that is named, never as an argument, which
everybody on the machine could read.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

KINDS = ("judge", "judge-folder", "win-rate")  # after ``evaluate``


def main(words: Sequence[str]) -> int:
    """Do what is said after ``evaluate`` and give the exit status."""
    asked = parser().parse_args(words)
    if asked.kind == "win-rate":
        from neftune_core.evaluate.judge.files import tell_win_rate  # noqa: PLC0415 - not for --help

        return tell_win_rate(asked.annotations)
    if asked.kind == "judge-folder":
        from neftune_core.evaluate.judge.folder import judge_folder  # noqa: PLC0415 - as above

        return judge_folder(asked)
    from neftune_core.evaluate.judge.files import judge_files  # noqa: PLC0415 - as above

    return judge_files(asked)


def parser() -> argparse.ArgumentParser:
    """Describe this part of the command line."""
    top = argparse.ArgumentParser(prog="python -m neftune_core evaluate", description="Judge answers.")
    kinds = top.add_subparsers(dest="kind", required=True)
    judge = kinds.add_parser(
        "judge",
        help="let a model elsewhere prefer one of two answers",
        description="Ask an OpenAI-compatible endpoint which answer is better, in both orders. Answers are "
        "files of AlpacaEval: a JSON list of {instruction, output, generator}. What is known is not asked "
        "again. Exit status: 0 done, even if answers are missing, which is told; 1 failed; 75 stopped by "
        "SIGTERM.",
    )
    judge.add_argument("ours", type=_file, metavar="ANSWERS.json", help="of the model that is judged")
    judge.add_argument("theirs", type=_file, metavar="OTHERS.json", help="what they are compared with")
    judge.add_argument("out", type=Path, metavar="OUT_DIR", help="where judge.json and the preferences go")
    add_asking(judge)
    judge.add_argument("--endpoint", required=True, metavar="URL", help="such as https://judge.example/v1")
    judge.add_argument("--model", required=True, metavar="NAME", help="the judge, as the endpoint names it")
    judge.add_argument("--price-in", type=float, metavar="X", help="of a million tokens sent")
    judge.add_argument("--price-out", type=float, metavar="X", help="of a million tokens received")
    judge.add_argument("--temperature", type=_number_or_none, metavar="X", help="0; none: not sent")
    judge.add_argument("--max-tokens", type=_number_or_none, metavar="N", help="256; none: not sent")
    judge.add_argument("--attempts", type=int, metavar="N", help="tries of a call that fails; 10")
    judge.add_argument("--concurrency", type=int, metavar="N", help="calls at once; 4")
    judge.add_argument("--timeout", type=float, metavar="S", help="seconds for a call; 60")
    judge.add_argument("--give-up", type=float, metavar="S", help="seconds without any answer; 180")
    judge.add_argument("--max-minutes", type=_number_or_none, metavar="M", help="for all of it; 120")
    judge.add_argument("--most", type=int, metavar="N", help="the first pairs only")
    folder = kinds.add_parser(
        "judge-folder",
        help="judge what an evaluation has answered",
        description="Judge the answers in the folder of an evaluation as its spec asks, and add what was "
        "found to its results.json. Exit status as of judge.",
    )
    folder.add_argument("folder", type=Path, metavar="DIR", help="OUT_DIR/evaluation, with results.json")
    folder.add_argument(
        "--others", type=_file, metavar="PATH", help="the answers of the other run, or the reference's rows"
    )
    folder.add_argument(
        "--ask-nobody", action="store_true", help="give the figures of what is known; another has died asking"
    )
    add_asking(folder)
    rate = kinds.add_parser(
        "win-rate",
        help="win rates of preferences that are there already",
        description="Give win rates, raw and at equal length, of a file of AlpacaEval's annotations.",
    )
    rate.add_argument("annotations", type=_file, metavar="ANNOTATIONS.json")
    return top


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Add what says how a judge may be asked, wherever the question comes from."""
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key-env", metavar="NAME", help="the environment variable that holds the key")
    key.add_argument("--key-fd", type=int, metavar="N", help="the file descriptor from which the key is read")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="HOST",
        help="a host that needs no public address, such as 127.0.0.1 or *.example.org; may be repeated",
    )
    parser.add_argument(
        "--known", type=Path, metavar="FILE", help="answers so far; judge_answers.jsonl there"
    )
    parser.add_argument("--estimate", action="store_true", help="tell calls and cost, and ask nobody")
    parser.add_argument("--report-fd", type=int, metavar="N", help="speak JSON lines on this file descriptor")


def _file(named: str) -> Path:
    path = Path(named)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {named}")
    return path


def _number_or_none(given: str) -> float | int | str:
    if given == "none":
        return given
    try:
        return int(given)
    except ValueError:
        return float(given)
