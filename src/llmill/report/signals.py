"""The tables of stage `signals`: metrics of the foundation model with their baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmill.report import form
from llmill.report.tables import Cell, Table, with_intervals

# Name, unit and path of each metric; name and path of its baselines.
FIGURES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("bits per byte, held-out documents", "bits", "bits_per_byte.all",
        {"unigram": "bits_per_byte.unigram", "gzip": "bits_per_byte.gzip"}),
    ("perplexity of a word, held-out documents", "plain", "bits_per_byte.word_perplexity", {}),
    ("last words of held-out documents, accuracy", "share", "last_words.accuracy",
        {"from three words only": "last_words.near.accuracy",
         "bigram": "last_words.bigram.accuracy"}),
    ("last words of held-out documents, perplexity", "plain", "last_words.perplexity",
        {"from three words only": "last_words.near.perplexity",
         "bigram": "last_words.bigram.perplexity", "unigram": "last_words.unigram.perplexity"}),
    ("windows of training text: reproduced tokens", "share", "memorisation.training.tokens",
        {"held-out text": "memorisation.held_out.tokens"}),
    ("windows of training text: reproduced in full", "share", "memorisation.training.whole",
        {"held-out text": "memorisation.held_out.whole"}),
    ("samples: distinct tokens", "share", "samples.written.distinct_1",
        {"held-out text": "samples.held_out.distinct_1"}),
    ("samples: distinct 2-grams", "share", "samples.written.distinct_2",
        {"held-out text": "samples.held_out.distinct_2"}),
    ("samples: distinct 3-grams", "share", "samples.written.distinct_3",
        {"held-out text": "samples.held_out.distinct_3"}),
    ("samples: repeated 4-grams", "share", "samples.written.repeated_4",
        {"held-out text": "samples.held_out.repeated_4"}),
    ("samples: longest run of training text, tokens", "points", "samples.written.longest_run",
        {"held-out text": "samples.held_out.longest_run"}),
    ("samples: with a copied run of half a window", "share", "samples.written.copied",
        {"held-out text": "samples.held_out.copied"}),
    ("minimal pairs, mean over phenomena", "share", "minimal_pairs.model",
        {"unigram": "minimal_pairs.unigram", "shorter sentence": "minimal_pairs.shorter"}),
)  # fmt: skip
WHO = {"model": "model", "unigram": "unigram", "shorter": "shorter sentence"}


def figures(metrics: Mapping[str, Any]) -> Table:
    """All metrics with their baselines."""
    rows: list[Sequence[Cell]] = []
    for name, unit, path, beside in FIGURES:
        figure = form.at(metrics, path)
        others = (f"{who} {form.number(form.at(metrics, at), unit)}" for who, at in beside.items())
        rows.append((name, ", ".join(others), (figure, unit), form.trials(figure)))
    return with_intervals(("metric", "baseline", "value", "n"), rows, left=2)


def minimal_pairs(metrics: Mapping[str, Any]) -> Table:
    """The share of right sentences that the model and each baseline prefer, by phenomenon."""
    phenomena = (form.at(metrics, "minimal_pairs.phenomena") or {}).items()
    rows: list[Sequence[Cell]] = [
        (
            form.words(name),
            *((told.get(who), "share") for who in WHO),
            form.trials(told.get("model")),
        )
        for name, told in phenomena
    ]
    return with_intervals(("phenomenon", *WHO.values(), "pairs"), rows)
