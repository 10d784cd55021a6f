"""The commands that use a model: they talk to it, serve it, and measure it on text.

A command imports what it needs when it is called, so that each command starts at once.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from llmill.commands import app
from llmill.contract import printable
from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.runner import streams, typed
from llmill.serve.limits import Limits

WEIGHTS = typer.Option(
    help="Data type of the weights. For large models on x86, bfloat16 is faster; int8 is even "
    "faster and costs a little accuracy."
)


@app.command("bits-per-byte")
def bits_per_byte(
    model: Annotated[str, typer.Argument(help="Model, named as in `llmill chat`.")],
    files: Annotated[
        list[Path],
        typer.Argument(help="Text files, or JSON lines or Parquet files with one text per row."),
    ],
    of_wikitext: Annotated[
        bool,
        typer.Option(
            "--wikitext", help="Read WikiText files page by page and undo their tokenization."
        ),
    ] = False,
    column: Annotated[str | None, typer.Option(help="Column of the text. Default: text.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of text files if they are not Unicode, e.g. cp1252."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens that the model reads at once. Default: at most 2048."),
    ] = None,
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Print the bits per byte of files and the perplexity per word."""
    from llmill.bits_per_byte import print_bits

    print_bits(
        model, files, of_wikitext=of_wikitext, column=column, encoding=encoding, window=window,
        dtype=dtype,
    )  # fmt: skip


@app.command()
def tokens(
    text: Annotated[str, typer.Argument(help="Text to split.")],
    model: Annotated[
        str | None, typer.Option(help="Use this model's tokenizer. Default: the chain's tokenizer.")
    ] = None,
) -> None:
    """Split a text into tokens and print the pieces with their ids."""
    from llmill.show_tokens import print_tokens

    print_tokens(typed.text(text, "the text"), model)


@app.command()
def chat(
    model: Annotated[
        str,
        typer.Argument(
            help="A stage (instruct, prefer, pretrain), the folder of an llmill or Hugging Face "
            "model, or a .gguf file."
        ),
    ] = "instruct",
    temperature: Annotated[
        float | None, typer.Option(help="0 always picks the most likely token. Default: 0.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from the k most likely tokens. Default: all.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Sample from the most likely tokens with this total probability."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Most tokens per answer. Default: 100.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed for sampling. Default: 1.")] = None,
    system: Annotated[
        str | None, typer.Option(help="System message at the start of the conversation.")
    ] = None,
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Talk to a model. The assistant answers; the foundation model continues your text."""
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
    refuse = None
    if sys.stdin.isatty():
        print(HELP)
        refuse = _say  # an interactive user may rephrase it
    converse(talk, typed.lines("> "), lambda piece: print(piece, end="", flush=True), refuse)


def _say(error: UserError) -> None:
    print(printable.error(f"llmill: {error}"), file=sys.stderr)


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="One or more models, named as in `llmill chat`. Default: instruct."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port. 0 picks a free port.")] = 8000,
    batch: Annotated[
        int, typer.Option(min=1, help="Most texts to generate together.")
    ] = Limits.batch,
    waiting: Annotated[int, typer.Option(min=1, help="Most texts that wait.")] = Limits.waiting,
    tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens that a request may generate.")
    ] = Limits.tokens,
    read: Annotated[
        int, typer.Option(min=1, help="Most tokens in a request's prompts.")
    ] = Limits.read,
    body: Annotated[int, typer.Option(min=1, help="Most bytes per request.")] = Limits.body,
    connections: Annotated[
        int, typer.Option(min=1, help="Most open connections.")
    ] = Limits.connections,
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Serve models over HTTP with OpenAI's API (docs/serving.md). LLMILL_API_KEY sets a key."""
    from llmill.serve.run import serve as run

    streams.outlive()
    limits = Limits(batch, waiting, tokens, read, body, connections)
    run(models or ["instruct"], host, port, limits, dtype)


@app.command("classify-text")
def classify_text(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to label. Default: the lines of standard input."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="classify/VARIANT, or the folder of a checkpoint.")
    ] = "classify/all",
) -> None:
    """Predict the label of each text, with its probability."""
    from llmill.chat import guess

    shown = texts or list(typed.lines())
    if not shown:
        raise UserError("no text to classify: name texts, or pipe lines into the command")
    empty = next((number for number, text in enumerate(shown, 1) if not text.strip()), None)
    if empty:
        raise UserError(f"text {empty}: an empty text, which has no label; leave it out")
    read = [typed.text(text, f"text {number}") for number, text in enumerate(shown, 1)]
    for text, (label, likely) in zip(shown, guess(model, read), strict=True):
        print(printable.line(f"{label}  {likely:6.1%}  {text}"))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def harness(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model, named as in `llmill chat`.")],
    dtype: Annotated[WeightType, WEIGHTS] = "float32",
) -> None:
    """Run lm-evaluation-harness on a model (docs/harness.md).

    The harness receives all other options: --tasks arc_easy,blimp --limit 100 --output_path FOLDER.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("lm_eval is not installed; in the repository, `pip install '.[harness]'`")
    from llmill.harness import evaluate

    streams.outlive()  # it writes its results at the end, perhaps after hours
    evaluate(model, dtype, context.args)
