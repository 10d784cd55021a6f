"""`llmill STAGE [VARIANT]` runs a stage, as does `python -m llmill`; the other commands choose
parameters, look at results or use models.

Every command reads `params.yaml` and `dvc.yaml` of the folder it is called in.
"""

import errno
import gc
import importlib
import os
import pkgutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from llmill.contract import openmp, printable, source
from llmill.contract.errors import Stopped, UserError
from llmill.contract.values import Dtype
from llmill.runner import launcher, streams, typed
from llmill.serve.refusal import Limits
from llmill.version import VERSION

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
WEIGHTS = typer.Option(
    help="Number type of the weights; bfloat16 is faster on x86, if they are many."
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def stage_names() -> list[str]:
    """The modules of `llmill.stages`: a stage is named like its module."""
    package = importlib.import_module("llmill.stages")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg)


def _add_stage(name: str) -> None:
    @app.command(name, help=f"Run stage {name}.", rich_help_panel="Stages")
    def stage(
        variant: Annotated[str | None, typer.Argument(help="Of a matrix stage.")] = None,
        resume_anyway: Annotated[
            bool, typer.Option(help="Continue a run that other code began.")
        ] = False,
    ) -> None:
        from llmill.runner.stage import execute

        execute(
            lambda: importlib.import_module(f"llmill.stages.{name}"), name, variant, resume_anyway
        )


for _name in stage_names():
    _add_stage(_name)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"llmill {VERSION}")
        raise typer.Exit


@app.callback()
def llmill(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and end."),
    ] = False,
) -> None:
    """A mill for language models: from raw text to judged models."""


def _presets(incomplete: str) -> list[str]:
    """Those that a shell completes to."""
    from llmill import presets

    return sorted(f.stem for f in presets.FOLDER.glob("*.yaml") if f.stem.startswith(incomplete))


@app.command()
def preset(
    name: Annotated[
        str | None, typer.Argument(help="Written to params.yaml.", autocompletion=_presets)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may stand several times."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace edits of params.yaml.")] = False,
) -> None:
    """List the presets, write one to params.yaml, or only change values there (--set)."""
    from llmill import presets

    if name is not None:
        presets.write(name, changes or [], force)
    elif changes:
        presets.change(changes)
    else:
        presets.print_list()


@app.command("new-data")
def new_data(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, JSON lines, Parquet or text.")],
    encoding: Annotated[
        str | None, typer.Option(help="Of its text, as cp1252, if it is not Unicode.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between columns.")] = None,
) -> None:
    """Say what a file of your own holds, and which lines of params.yaml take it in."""
    from llmill.new_data import print_report

    print_report(file, encoding, delimiter)


@app.command()
def results(
    by_time: Annotated[
        Path | None,
        typer.Option(help="A PNG to draw: the classifiers' accuracy by the time they took."),
    ] = None,
) -> None:
    """Print the figures of the last run, with intervals."""
    if by_time is None:
        from llmill.results import print_table

        print_table()
    else:
        from llmill.by_time import print_by_time

        print_by_time(by_time)


@app.command()
def rank(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, JSON lines or Parquet.")],
    columns: Annotated[
        str, typer.Option(help="Of the two players and the winner.")
    ] = "model_a,model_b,winner",
) -> None:
    """Rate the players of a table of outcomes in pairs, such as judges' choices between answers."""
    from llmill.rank import print_ranking

    names = columns.split(",")
    if len(names) != 3:
        raise UserError(f"--columns {columns}: three names, as in model_a,model_b,winner")
    print_ranking(file, names)


@app.command("win-rate")
def win_rate(
    file: Annotated[Path, typer.Argument(help="Annotations: JSON, JSON lines or Parquet.")],
    column: Annotated[str, typer.Option(help="Of the preferences, from 1 to 2.")] = "preference",
) -> None:
    """Print how often a model's answers were preferred, as AlpacaEval counts it."""
    from llmill.win_rate import print_win_rate

    print_win_rate(file, column)


@app.command()
def runs(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of MLflow's server.")] = 5000,
) -> None:
    """Open MLflow on the runs: prints the address of their table, and serves it until Ctrl-C."""
    from llmill.runs import show_runs

    show_runs(port)


@app.command()
def verify(
    pin: Annotated[
        bool, typer.Option(help="Write hashes that were got into sources.yaml.")
    ] = False,
) -> None:
    """Hash the chain again, from raw file to metric, and name the first broken link."""
    from llmill.verify import verify_chain

    verify_chain(pin)


@app.command()
def plan(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print what `dvc repro` would do with every stage, why, and what that took last time."""
    from llmill.plan.table import print_plan

    print_plan(as_json)


@app.command("show-batch")
def show_batch(
    stage: Annotated[str, typer.Argument(help="One that trains, such as pretrain.")],
    step: Annotated[int, typer.Argument(help="Of the run, from 0.")],
    variant: Annotated[
        str | None, typer.Option(help="Of a matrix stage; all have the same batches.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
) -> None:
    """Print the batch of a step as the training reads it, without training."""
    from llmill.show import print_batch

    print_batch(stage, step, variant, rows)


@app.command()
def tokens(
    text: Annotated[str, typer.Argument(help="Any text.")],
    model: Annotated[
        str | None, typer.Option(help="Of a model named as in chat; else the tokenizer made here.")
    ] = None,
) -> None:
    """Print the pieces that a text is cut into, with their ids."""
    from llmill.show_tokens import print_tokens

    print_tokens(typed.text(text, "the text"), model)


@app.command()
def chat(
    model: Annotated[
        str, typer.Argument(help="instruct, pretrain, or a folder, ours or Hugging Face's.")
    ] = "instruct",
    temperature: Annotated[float | None, typer.Option(help="0: always the likeliest.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from so much probability.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Of an answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
    system: Annotated[
        str | None, typer.Option(help="The system message, before all that is said.")
    ] = None,
    dtype: Annotated[Dtype, WEIGHTS] = "float32",
) -> None:
    """Talk to a model: the assistant answers, the foundation model goes on."""
    from llmill.chat import HELP, Settings, converse, open_talk

    given: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UserError(str(error)) from None
    talk = open_talk(model, settings, dtype, system)
    if sys.stdin.isatty():
        print(HELP)
    converse(talk, typed.lines("> "), lambda piece: print(piece, end="", flush=True))


@app.command()
def serve(
    models: Annotated[
        list[str] | None, typer.Argument(help="As in chat, one or several; else instruct.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    batch: Annotated[
        int, typer.Option(min=1, help="Texts that are written together.")
    ] = Limits.batch,
    waiting: Annotated[int, typer.Option(min=1, help="Texts that may wait.")] = Limits.waiting,
    tokens: Annotated[
        int, typer.Option(min=1, help="That a request may have written.")
    ] = Limits.tokens,
    read: Annotated[int, typer.Option(min=1, help="Tokens of a request's prompts.")] = Limits.read,
    body: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = Limits.body,
    connections: Annotated[int, typer.Option(min=1, help="Open at once.")] = Limits.connections,
    dtype: Annotated[Dtype, WEIGHTS] = "float32",
) -> None:
    """Serve models over HTTP, in OpenAI's interface; docs/serving.md. LLMILL_API_KEY sets a key."""
    from llmill.serve.run import serve as run

    limits = Limits(batch, waiting, tokens, read, body, connections)
    run(models or ["instruct"], host, port, limits, dtype)


@app.command("classify-text")
def classify_text(
    texts: Annotated[list[str] | None, typer.Argument(help="Else lines of the input.")] = None,
    model: Annotated[
        str, typer.Option(help="classify/VARIANT, or a checkpoint's folder.")
    ] = "classify/all",
) -> None:
    """Guess the label of texts, with its probability."""
    from llmill.chat import guess

    shown = texts or list(typed.lines())
    if not shown:
        raise UserError("no text to classify: name texts, or pipe lines into the command")
    read = [typed.text(text, f"text {number}") for number, text in enumerate(shown, 1)]
    for text, (label, likely) in zip(shown, guess(model, read), strict=True):
        print(printable.line(f"{label}  {likely:6.1%}  {text}"))


def main() -> None:
    """Run a command; a user's mistake is one line and exit code 1, a signal ends in 128 + its
    number.
    """
    # Imports make a million objects that stay; to look through them is a seventh of a start.
    gc.set_threshold(50_000)
    source.run_from_here()
    openmp.share_cores()
    streams.survive()
    try:
        launcher.run_to_the_end(_answer)
    finally:
        gc.freeze()  # else Python looks through them as it ends: a second with torch and MLflow


def _answer() -> None:
    try:
        app()
    except UserError as error:
        sys.exit(printable.error(f"llmill: {error}"))
    except OSError as error:  # such as in a clone of somebody else, or on a medium
        if error.errno not in READ_ONLY or not error.filename:
            raise
        where = os.fsdecode(error.filename)
        sys.exit(printable.error(f"llmill: {where}: {error.strerror}; work in a clone of your own"))
    except Stopped as stopped:
        print(f"llmill: {stopped}", file=sys.stderr, flush=True)
        sys.exit(128 + stopped.signum)


if __name__ == "__main__":
    main()
