"""The commands that choose parameters and look at data and results.

A command imports what it needs when it is called, so that each command starts at once.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from llmill.contract.errors import UserError
from llmill.runner import streams
from llmill.version import VERSION

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"llmill {VERSION}")
        raise typer.Exit


@app.callback()
def llmill(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """A mill for language models: from raw text to judged models."""


def _presets(incomplete: str) -> list[str]:
    """Return the presets that a shell completes to."""
    from llmill import presets

    return sorted(f.stem for f in presets.FOLDER.glob("*.yaml") if f.stem.startswith(incomplete))


@app.command()
def preset(
    name: Annotated[
        str | None, typer.Argument(help="Preset to write to params.yaml.", autocompletion=_presets)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value. Can be repeated."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite your edits of params.yaml.")
    ] = False,
) -> None:
    """List the presets or write one to params.yaml. With --set alone, change values there."""
    from llmill import presets

    if name is not None:
        presets.write(name, changes or [], force)
    elif changes:
        presets.change(changes)
    else:
        presets.print_list()


@app.command("new-data")
def new_data(
    file: Annotated[
        Path, typer.Argument(help="A CSV, TSV, JSON, JSON lines, Parquet or text file.")
    ],
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the text if it is not Unicode, e.g. cp1252.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Character that separates columns.")] = None,
) -> None:
    """Describe a file of your own and print the lines for params.yaml that use it."""
    from llmill.new_data import print_report

    print_report(file, encoding, delimiter)


@app.command()
def results(
    by_time: Annotated[
        Path | None,
        typer.Option(help="Draw the classifiers' accuracy by training time into this PNG file."),
    ] = None,
) -> None:
    """Print the metrics of the last run with their intervals."""
    if by_time is None:
        from llmill.results import print_table

        print_table()
    else:
        from llmill.by_time import print_by_time

        print_by_time(by_time)


@app.command()
def rank(
    file: Annotated[
        Path, typer.Argument(help="Table of outcomes: CSV, TSV, JSON, JSON lines or Parquet.")
    ],
    columns: Annotated[
        str, typer.Option(help="Columns of the two players and the winner.")
    ] = "model_a,model_b,winner",
    together: Annotated[
        str | None,
        typer.Option(
            help="Columns, e.g. instruction,input. Outcomes with equal values are drawn together."
        ),
    ] = None,
) -> None:
    """Rate players by a table of outcomes in pairs, such as judges' choices between answers."""
    from llmill.rank import print_ranking

    names = columns.split(",")
    if len(names) != 3:
        raise UserError(f"--columns {columns}: three names, as in model_a,model_b,winner")
    print_ranking(file, names, together=together.split(",") if together else [])


@app.command()
def arena(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Answers from other sources: files or folders of files, with one player per file."
        ),
    ] = None,
    by: Annotated[
        Literal["judge", "words"] | None,
        typer.Option(help="Scorer of answers that no rule decides: the judge, or words (ROUGE-L)."),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=100, help="Two scores that differ by less are a tie.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Also write the outcomes to this file, as JSON lines.")
    ] = None,
) -> None:
    """Compare the chain's models, and answers from other sources, in pairs, and rate them."""
    from llmill.arena import print_arena

    print_arena(paths or [], by, margin, out)


@app.command("judge-pairs")
def judge_pairs(
    first: Annotated[Path, typer.Argument(help="File of answers, as in results/instruct/answers.")],
    second: Annotated[
        Path, typer.Argument(help="Another file with answers to the same instructions.")
    ],
    out: Annotated[
        Path, typer.Option(help="File to write the outcomes to, for `llmill rank`.")
    ] = Path("outcomes.jsonl"),
    names: Annotated[
        str | None,
        typer.Option(help="Names of the two players, e.g. old,new. Default: the file names."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Name of a file in src/llmill/evaluation/judging/prompts. Default: pair-1, or "
            "pair-without-reference-1 if no answer has a reference."
        ),
    ] = None,
) -> None:
    """Let a judge on a server compare two files of answers, each pair in both orders."""
    from llmill.judge_pairs import print_pairs

    streams.outlive()  # the replies are paid for
    called = [first.stem, second.stem] if names is None else names.split(",")
    if len(called) != 2 or not all(called):
        raise UserError(f"--names {names}: two names, as in old,new")
    print_pairs([first, second], out, called, prompt)


@app.command("win-rate")
def win_rate(
    file: Annotated[Path, typer.Argument(help="File of annotations: JSON, JSON lines or Parquet.")],
    column: Annotated[
        str, typer.Option(help="Column of the preferences, numbers from 1 to 2.")
    ] = "preference",
    length_controlled: Annotated[
        bool, typer.Option("--length-controlled", help="Also print the win rate at equal length.")
    ] = False,
    gamed: Annotated[
        Path | None,
        typer.Option(help="AlpacaEval's df_gamed.csv, to fit its full regression."),
    ] = None,
) -> None:
    """Print how often a model's answers were preferred, counted as in AlpacaEval."""
    from llmill.win_rate import print_win_rate

    print_win_rate(file, column, length_controlled, gamed)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="A git revision, DVC experiment or MLflow run.")],
    after: Annotated[str, typer.Argument(help="Another one, or `workspace` for the files here.")],
    page: Annotated[Path | None, typer.Option(help="Also write this HTML page.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also print metrics that are not headline metrics.")
    ] = False,
) -> None:
    """Print how two results differ, which metrics moved, and which change moved them."""
    from llmill.compare import print_comparison

    print_comparison(before, after, page, everything)


@app.command()
def runs(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of MLflow's server.")] = 5000,
) -> None:
    """Show the runs in MLflow: print the address of their table and serve it until Ctrl-C."""
    from llmill.runs import show_runs

    show_runs(port)


@app.command()
def verify(
    pin: Annotated[bool, typer.Option(help="Write the hashes into sources.yaml.")] = False,
) -> None:
    """Hash the chain again, from raw files to metrics, and report the first broken link."""
    from llmill.verify import verify_chain

    verify_chain(pin)


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove the listed files.")] = False,
    downloads: Annotated[bool, typer.Option("--downloads", help="Include all downloads.")] = False,
) -> None:
    """List the files in scratch/ that are no longer needed, and why. With --yes, remove them."""
    from llmill.clean import clean_scratch

    if yes:
        streams.outlive()
    clean_scratch(yes, downloads)


@app.command()
def plan(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print what `dvc repro` would do with each stage, why, and the cost of its last run."""
    from llmill.plan.table import print_plan

    print_plan(as_json)


@app.command("show-batch")
def show_batch(
    stage: Annotated[
        str, typer.Argument(help="A stage that trains a model: pretrain, classify@all.")
    ],
    step: Annotated[int, typer.Argument(help="Step of the training, from 0.")],
    variant: Annotated[
        str | None, typer.Option(help="Variant of a matrix stage. All have the same batches.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Print at most this many rows.")] = None,
) -> None:
    """Print the batch that the training reads at a step, without training."""
    from llmill.show import print_batch

    print_batch(stage, step, variant, rows)
