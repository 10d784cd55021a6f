"""`llmill bits-per-byte MODEL FILE...`: how well a model knows the text of files, by metrics that
compare across tokenizers.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmill import models
from llmill.contract import printable
from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.evaluation.language import bits_per_byte
from llmill.evaluation.language.bits_per_byte import TextLoss
from llmill.evaluation.statistics.intervals import CONFIDENCE, RESAMPLES, Draws
from llmill.models import LanguageModel
from llmill.report import form
from llmill.text.files import readers, wikitext

WINDOW = 2048  # tokens, if a model reads more: logits of half a window take memory
LOGITS = 1 << 26  # in memory at once, roughly
MOST_ROWS = 32
HEADS = (
    "texts",
    "bytes",
    "tokens",
    "words",
    "nats per token",
    "bits per byte",
    f"{CONFIDENCE:.0%} interval, over texts",
    "bits per byte, gzip",
    "perplexity per word",
)
DRAWS: Draws = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": 1}


def print_bits(
    name: str,
    files: list[Path],
    *,
    of_wikitext: bool = False,
    column: str | None = None,
    encoding: str | None = None,
    window: int | None = None,
    dtype: WeightType = "float32",
    console: Console | None = None,
) -> None:
    """Print the metrics of each file, and of all together. Raises `UserError` for a file without
    text, and for a window that the model cannot read.
    """
    texts = [list(readers.texts(file, column, encoding)) for file in files]
    if of_wikitext:  # in tables a row is a line
        texts = [wikitext.pages("".join(rows)) for rows in texts]
    for file, each in zip(files, texts, strict=True):
        if not any(text.strip() for text in each):
            raise UserError(f"{file}: no text in it")
    language = models.language_model(name, dtype)
    longest = language.model.config.block_size
    if window is not None and window > longest:
        raise UserError(f"--window {window}: {name} reads at most {longest} tokens")
    window = min(longest, WINDOW) if window is None else window
    scored = [score(language, each, window, of_wikitext) for each in texts]
    table = figures([file.name for file in files], scored, texts)
    table.title = printable.line(f"{name}, windows of {window:,} tokens that overlap by half")
    (console or Console()).print(table)


def score(
    language: LanguageModel, texts: list[str], window: int, of_wikitext: bool
) -> list[TextLoss]:
    """Return the loss of each text as the model reads it. WikiText's pages are read as the text was
    before it was cut into words; words and bytes are those of the file.
    """
    read = [wikitext.detokenized(text) for text in texts] if of_wikitext else texts
    words = [wikitext.words(text) if of_wikitext else None for text in texts]
    ids = [language.completed(text) for text in read]
    rows = LOGITS // (max(1, window // 2) * language.tokenizer.n_vocab)
    nats = bits_per_byte.nats(language.model, ids, window, max(1, min(MOST_ROWS, rows)))
    tokens = [len(each) - 1 for each in ids]
    return list(map(bits_per_byte.text_loss, texts, nats, tokens, words))


def figures(names: list[str], scored: list[list[TextLoss]], texts: list[list[str]]) -> Table:
    """Return a table with a column per file, and for several files also one of all."""
    columns = list(zip(names, scored, texts, strict=True))
    if len(columns) > 1:
        everything = [each for part in scored for each in part], [t for part in texts for t in part]
        columns.append(("together", *everything))
    table = Table("", title_justify="left", caption_justify="left")
    cells = []
    for name, told, content in columns:
        table.add_column(Text(printable.line(name)), justify="right")
        found, perplexity = bits_per_byte.of(told, DRAWS), bits_per_byte.word_perplexity(told)
        counts = (sum(getattr(x, key) for x in told) for key in ("n_bytes", "tokens", "words"))
        cells.append(
            [
                form.number(len(told), "count"),
                *(form.number(count, "count") for count in counts),
                form.number(bits_per_byte.nats_per_token(told), "nats"),
                form.number(found, "bits"),
                form.interval(found, "bits") if len(told) > 1 else form.DASH,
                form.number(bits_per_byte.of_gzip(content), "bits"),
                form.DASH if perplexity is None else f"{perplexity:,.5g}",
            ]
        )
    for head, *row in zip(HEADS, *cells, strict=True):
        table.add_row(head, *row)
    return table
