"""Every command but the stages: they choose parameters, look at results or use models.

What a command needs is imported as it is called, so that each begins at once.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from llmill.contract import printable
from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.runner import typed
from llmill.serve.refusal import Limits
from llmill.version import VERSION

WEIGHTS = typer.Option(
    help="Number type of the weights; if they are many, bfloat16 is faster on x86, and int8 "
    "faster still, for a little of what the model knows."
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


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
    together: Annotated[
        str | None,
        typer.Option(
            help="Columns, as in instruction,input: outcomes that share them are drawn as one."
        ),
    ] = None,
) -> None:
    """Rate the players of a table of outcomes in pairs, such as judges' choices between answers."""
    from llmill.rank import print_ranking

    names = columns.split(",")
    if len(names) != 3:
        raise UserError(f"--columns {columns}: three names, as in model_a,model_b,winner")
    print_ranking(file, names, together=together.split(",") if together else [])


@app.command()
def arena(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Answers from elsewhere: files, or folders of them, a player a file."),
    ] = None,
    by: Annotated[
        Literal["judge", "words"] | None,
        typer.Option(help="Who rates what no rule decides: the judge, or ROUGE-L."),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=100, help="Scores nearer than that are a tie.")
    ] = 10,
    out: Annotated[Path | None, typer.Option(help="JSON lines of the outcomes to write.")] = None,
) -> None:
    """Set the chain's models, and answers from elsewhere, against one another, and rate them."""
    from llmill.arena import print_arena

    print_arena(paths or [], by, margin, out)


@app.command("judge-pairs")
def judge_pairs(
    first: Annotated[Path, typer.Argument(help="Answers, as in results/instruct/answers.")],
    second: Annotated[Path, typer.Argument(help="Another's, to the same instructions.")],
    out: Annotated[Path, typer.Option(help="JSON lines of outcomes, for `llmill rank`.")] = Path(
        "outcomes.jsonl"
    ),
    names: Annotated[
        str | None, typer.Option(help="Of the two, as in old,new; else the files' names.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="A file in src/llmill/evaluation/prompts; else pair-1, or "
            "pair-without-reference-1 where no answer has a reference."
        ),
    ] = None,
) -> None:
    """Have the judge behind a server compare two files of answers, each pair in both orders."""
    from llmill.judge_pairs import print_pairs

    called = [first.stem, second.stem] if names is None else names.split(",")
    if len(called) != 2 or not all(called):
        raise UserError(f"--names {names}: two names, as in old,new")
    print_pairs([first, second], out, called, prompt)


@app.command("win-rate")
def win_rate(
    file: Annotated[Path, typer.Argument(help="Annotations: JSON, JSON lines or Parquet.")],
    column: Annotated[str, typer.Option(help="Of the preferences, from 1 to 2.")] = "preference",
    length_controlled: Annotated[
        bool, typer.Option("--length-controlled", help="Print the rate at equal length, too.")
    ] = False,
    gamed: Annotated[
        Path | None,
        typer.Option(help="AlpacaEval's df_gamed.csv, for the whole of its regression."),
    ] = None,
) -> None:
    """Print how often a model's answers were preferred, as AlpacaEval counts it."""
    from llmill.win_rate import print_win_rate

    print_win_rate(file, column, length_controlled, gamed)


@app.command("bits-per-byte")
def bits_per_byte(
    model: Annotated[str, typer.Argument(help="As in chat.")],
    files: Annotated[
        list[Path], typer.Argument(help="Text; or JSON lines or Parquet, a text a row.")
    ],
    of_wikitext: Annotated[
        bool, typer.Option("--wikitext", help="WikiText's files: by pages, and as it was written.")
    ] = False,
    column: Annotated[str | None, typer.Option(help="Of a row's text, if not 'text'.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of text files, as cp1252, if they are not Unicode.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=2, help="Tokens read at once; else at most 2048.")
    ] = None,
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Print bits per byte of files, and the perplexity per word."""
    from llmill.bits_per_byte import print_bits

    print_bits(
        model, files, of_wikitext=of_wikitext, column=column, encoding=encoding, window=window,
        dtype=dtype,
    )  # fmt: skip


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="A git revision, DVC experiment or MLflow run.")],
    after: Annotated[str, typer.Argument(help="Another; `workspace` is what lies here.")],
    page: Annotated[Path | None, typer.Option(help="An HTML file to write as well.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the figures that no report opens with.")
    ] = False,
) -> None:
    """Print what differs between two results, which figures moved, and which change moved them."""
    from llmill.compare import print_comparison

    print_comparison(before, after, page, everything)


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
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
    downloads: Annotated[bool, typer.Option("--downloads", help="And every download.")] = False,
) -> None:
    """Print what in scratch/ is of no use any more, and why; with --yes, remove it."""
    from llmill.clean import clean_scratch

    clean_scratch(yes, downloads)


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
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
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
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def harness(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="As in chat.")],
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Run lm-evaluation-harness on a model. Other options are its own: --tasks arc_easy,blimp
    --limit 100 --output_path FOLDER; docs/harness.md.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("lm_eval is not installed; pip install 'llmill[harness]'")
    from llmill.harness import evaluate

    evaluate(model, dtype, context.args)
