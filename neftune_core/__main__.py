"""The core on the command line: ``python -m neftune_core run``, ``evaluate``, ``export`` and more.

Parses arguments and sets what must be set before torch is imported; nothing heavy is imported for
``--help`` or for a wrong argument.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neftune_core.evaluate.judge import command as judging
from neftune_core.loading import libraries
from neftune_core.report import command as reporting

_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # idle threads that spin cost minutes on a busy small machine
    "HF_HUB_OFFLINE": "1",  # models come from a folder; whoever wants the hub fetches first
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "BITSANDBYTES_NOWELCOME": "1",
}


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m neftune_core",
        description="Fine-tune a language model with NEFTune, without any service.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="train an adapter or a model from a spec and rows",
        description="Train from a JobSpec (JSON) and a dataset (JSON lines, JSON array, CSV or Parquet). "
        "Exit status: 0 done, 1 failed, 75 stopped by SIGTERM between two steps.",
    )
    run.add_argument("spec", type=_file, metavar="SPEC.json", help="what to train; the fields of POST /jobs")
    run.add_argument("rows", type=_file, metavar="ROWS", help="the dataset's file")
    run.add_argument("out", type=Path, metavar="OUT_DIR", help="where adapter or model and record.json go")
    run.add_argument("--validation-rows", type=_file, metavar="PATH", help="held-out rows instead of a split")
    run.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="the base model; else sought under MODELS_DIRS"
    )
    run.add_argument(
        "--shared-tokens",
        type=Path,
        metavar="FILE",
        help="read what rows become from here, and leave it here for other runs on the same rows",
    )
    run.add_argument(
        "--checkpoints",
        action="store_true",
        help="save OUT_DIR/checkpoints/step-… by training.save_every, and when stopped",
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest whole checkpoint there, to the same result; implies --checkpoints",
    )
    run.add_argument("--report-fd", type=int, metavar="N", help="speak JSON lines on this file descriptor")
    _add_export(commands)
    _add_evaluate(commands)
    generate = commands.add_parser(
        "generate",
        help="answer a prompt with the base model and with an adapter",
        description="Answer greedily in eval mode, without noise; prints one JSON object.",
    )
    generate.add_argument(
        "--model-dir", type=Path, required=True, metavar="DIR", help="the base model, or a tuned one"
    )
    generate.add_argument(
        "--adapter", type=Path, metavar="DIR", help="an adapter folder; both answers are given"
    )
    asked = generate.add_mutually_exclusive_group(required=True)
    asked.add_argument("--prompt", action="append", metavar="TEXT", help="a user's turn; may be repeated")
    asked.add_argument(
        "--messages", metavar="JSON", help='turns, such as [{"role": "user", "content": "Hi"}]'
    )
    generate.add_argument(
        "--template",
        default="auto",
        choices=["auto", "alpaca", "alpaca-newline", "vicuna", "chat", "plain"],
        help="alpaca-newline ends the prompt with a newline, as the paper's evaluation did",
    )
    generate.add_argument("--max-new-tokens", type=int, metavar="N", help="128 where nothing is said")
    generate.add_argument("--repetition-penalty", type=float, metavar="X", help="1 where nothing is said")
    generate.add_argument(
        "--paper",
        action="store_true",
        help="decode as the paper: repetition penalty 1.2, at most 2048 tokens with the prompt",
    )
    commands.add_parser("report", add_help=False, help="show what a run or a series came to as one page")
    serve = commands.add_parser(
        "serve",
        help="answer questions that come as JSON lines (the service's own way to ask)",
        description="Hold one base in memory and answer what stdin asks, until it ends.",
    )
    serve.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu or cuda:N")
    serve.add_argument("--report-fd", type=int, required=True, metavar="N", help="where the answers go")
    return top


def _add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    export = commands.add_parser(
        "export",
        help="merge an adapter into its base",
        description="Write OUT_DIR/merged, a model that needs no adapter, after proving that it computes the "
        "same. Needs about four bytes of memory for each parameter of the base. Exit status as of run.",
    )
    export.add_argument("record", type=_file, metavar="RECORD.json", help="of the run that trained it")
    export.add_argument("adapter", type=Path, metavar="ADAPTER_DIR", help="the adapter's folder")
    export.add_argument("out", type=Path, metavar="OUT_DIR", help="where merged and record.json go")
    export.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="the base model; else sought under MODELS_DIRS"
    )
    export.add_argument("--report-fd", type=int, metavar="N", help="speak JSON lines on this file descriptor")


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a tuned model, or a base, with the noise off",
        description="Measure what an EvaluationSpec (JSON) asks for and write OUT_DIR/evaluation. Asked "
        "again, it goes on from the parts that are done. Exit status as of run.",
    )
    evaluate.add_argument("spec", type=_file, metavar="EVALUATION.json", help="what to measure")
    evaluate.add_argument("out", type=Path, metavar="OUT_DIR", help="where the results go")
    subject = evaluate.add_mutually_exclusive_group()
    subject.add_argument("--run", type=_folder, metavar="DIR", help="the OUT_DIR of the run that is measured")
    subject.add_argument("--job", type=_file, metavar="PATH", help="a run's record.json, or a JobSpec")
    evaluate.add_argument(
        "--tuned", type=Path, metavar="PATH", help="adapter, model or a checkpoint's weights"
    )
    evaluate.add_argument("--other", type=Path, metavar="PATH", help="the same of a run to be judged against")
    evaluate.add_argument("--step", type=int, metavar="N", help="the step that --tuned is of")
    evaluate.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="the base model; else sought under MODELS_DIRS"
    )
    evaluate.add_argument("--rows", type=_file, metavar="PATH", help="the rows that were trained on")
    evaluate.add_argument(
        "--validation-rows", type=_file, metavar="PATH", help="held-out rows, if not a split"
    )
    evaluate.add_argument(
        "--data",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="rows that the spec names",
    )
    evaluate.add_argument(
        "--benchmarks", type=_folder, metavar="DIR", help="lm-eval tasks of one's own, and its data"
    )
    evaluate.add_argument(
        "--report-fd", type=int, metavar="N", help="speak JSON lines on this file descriptor"
    )


def _folder(named: str) -> Path:
    path = Path(named)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {named}")
    return path


def _named(told: str) -> tuple[str, Path]:
    name, equals, path = told.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("say NAME=PATH")
    return name, _file(path)


def _file(named: str) -> Path:
    path = Path(named)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {named}")
    return path


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    top = parser()
    asked = top.parse_args(arguments)
    if asked.command == "generate" and asked.paper and _given(asked):
        top.error("--paper says how to decode; leave out --max-new-tokens and --repetition-penalty")
    return asked


def _given(asked: argparse.Namespace) -> dict[str, Any]:
    decoding = {name: getattr(asked, name) for name in ("max_new_tokens", "repetition_penalty")}
    return {name: value for name, value in decoding.items() if value is not None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks and give the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["evaluate"] and words[1:2] and words[1] in judging.KINDS:
        return judging.main(words[1:])
    if words[:1] == ["report"]:
        return reporting.main(words[1:])
    return _do(_parsed(words))


def _do(asked: argparse.Namespace) -> int:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if asked.command == "run":
        from neftune_core.runner import Errand, run_job  # noqa: PLC0415 - after the environment, not for --help

        errand = Errand(
            asked.spec,
            asked.rows,
            asked.out,
            asked.validation_rows,
            asked.model_dir,
            shared_tokens=asked.shared_tokens,
            checkpoints=asked.checkpoints,
            resume=asked.resume,
        )
        return run_job(errand, asked.report_fd)
    if asked.command == "export":
        from neftune_core.merging import Merge, export_job  # noqa: PLC0415 - as above

        return export_job(Merge(asked.record, asked.adapter, asked.out, asked.model_dir), asked.report_fd)
    if asked.command == "evaluate":
        from neftune_core.evaluate import command  # noqa: PLC0415 - as above

        named = {
            name: value for name, value in vars(asked).items() if name not in ("command", "report_fd", "data")
        }
        return command.evaluate_job(command.Errand(**named, data=dict(asked.data)), asked.report_fd)
    if asked.command == "serve":
        with libraries(before_all=True):
            from neftune_core.serving import serve  # noqa: PLC0415 - as above

        return serve(asked.device, asked.report_fd)
    with libraries(before_all=True):
        from neftune_core import decoding, generate  # noqa: PLC0415 - as above
        from neftune_core.errors import CoreError  # noqa: PLC0415 - as above

    try:
        return generate.answer_job(
            asked.model_dir,
            asked.adapter,
            generate.conversations(asked.prompt, asked.messages),
            asked.template,
            decoding.PAPER if asked.paper else decoding.Decoding(**_given(asked)),
        )
    except CoreError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
