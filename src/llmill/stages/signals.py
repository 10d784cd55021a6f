"""Measure the foundation model with metrics that separate small models.

    python -m llmill signals

Input: the foundation model, its number of epochs, and the tokens of the training and the held-out
text. Output: `metrics.json`, `items.json`. The metrics are bits per byte and last words of held-out
documents, memorisation of the training text, diversity of samples, and minimal pairs. Each has a
baseline that ignores the context, or held-out text for comparison.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmill.contract import record, runtime
from llmill.contract.values import Section
from llmill.evaluation.language import (
    bits_per_byte,
    diversity,
    last_words,
    memorisation,
    minimal_pairs,
)
from llmill.evaluation.language.last_words import Guess
from llmill.evaluation.language.ngrams import Bigram, Unigram, stretches
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval
from llmill.model import checkpoint
from llmill.model.generate import Choice, generate
from llmill.model.transformer import Transformer
from llmill.stages.settings.signals import Signals
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.world.minimal_pairs import candidates, unseen

if TYPE_CHECKING:
    from llmill.contract.job import Job

READ_WHOLE = 0.95  # epochs; ends of rows, and of the text, are in no batch
AS_LIKELY = Choice(temperature=1.0)  # sample from the model's own probabilities
MetricsAndItems = tuple[dict[str, Any], list[dict[str, Any]]]  # (metrics, one row per item)


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    signals: Signals


@dataclass(frozen=True)
class Subject:
    """The model, the texts and the settings of the measurement."""

    model: Transformer
    tokenizer: Tokenizer
    train: Shards
    held_out: Shards
    unigram: Unigram
    settings: Signals
    draws: Draws
    job: Job


def run(params: Parameters, job: Job) -> None:
    """Compute all metrics, one after the other."""
    subject = opened(params.signals, job)
    runtime.start(params.signals.seed, params.signals.threads)
    # One stage measures all of them, because each start of a stage costs seconds.
    measures = {
        "bits_per_byte": held_out_bits,
        "last_words": held_out_words,
        "memorisation": by_heart,
        "samples": samples,
        "minimal_pairs": grammar,
    }
    found = {name: measure(subject) for name, measure in measures.items()}
    metrics = {name: figures for name, (figures, _) in found.items()}
    record.write_json(job.out / "items.json", {name: rows for name, (_, rows) in found.items()})
    record.write_json(job.out / "metrics.json", metrics)
    for name, (_, rows) in found.items():
        job.track.table(name, rows)
    job.track.metrics(intervals.numbers_of(metrics))
    job.say(
        f"{shown(metrics['bits_per_byte']['all'], '.3f')} bits per byte; "
        f"{shown(metrics['last_words']['accuracy'], '.1%')} of the last words; "
        f"{shown(metrics['minimal_pairs']['model'], '.1%')} of the minimal pairs"
    )


def shown(metric: Interval | None, form: str) -> str:
    """Format the value of a metric; a dash if nothing could be measured.

    `llmill.report` formats metrics, too, but the stage would then run anew with each edit there.
    """
    return "–" if metric is None else format(metric["value"], form)


def opened(settings: Signals, job: Job) -> Subject:
    """Load the model and both texts."""
    loaded = checkpoint.load_language_model(job.folder("pretrain") / "checkpoint")
    tokens = job.folder("tokenize")
    train, held_out = Shards.load(tokens / "train"), Shards.load(tokens / "validate")
    draws: Draws = {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }
    model, tokenizer = loaded.model, loaded.tokenizer
    return Subject(model, tokenizer, train, held_out, Unigram.of(train), settings, draws, job)


def held_out_bits(of: Subject) -> MetricsAndItems:
    """Measure bits per byte of held-out documents, overall and by source."""
    numbers = spread(of.held_out, of.settings.documents)
    ids = [document(of.held_out, number) for number in numbers]
    texts = [of.tokenizer.decode(each) for each in ids]
    sources = [of.held_out.sources[of.held_out.source[number]] for number in numbers]
    nats = bits_per_byte.nats(
        of.model,
        [[of.tokenizer.end_of_text, *each] for each in ids],
        of.model.config.block_size,
        of.settings.batch_size,
        of.job.progress("stretches of held-out text"),
    )
    scored = [
        bits_per_byte.text_loss(*each) for each in zip(texts, nats, map(len, ids), strict=True)
    ]
    counted = [
        bits_per_byte.text_loss(text, -of.unigram.logprob(each), len(each))
        for text, each in zip(texts, ids, strict=True)
    ]
    rows = [
        {"source": source, "text": text, "unigram_nats": count.nats, **asdict(each)}
        for source, text, each, count in zip(sources, texts, scored, counted, strict=True)
    ]

    def figures(which: list[int]) -> dict[str, Any]:
        return bits_per_byte.figures(
            [texts[i] for i in which],
            [scored[i] for i in which],
            [counted[i] for i in which],
            of.draws,
        )

    by_source = {
        name: figures([i for i, source in enumerate(sources) if source == name])
        for name in sorted(set(sources))
    }
    return {**figures([*range(len(ids))]), "sources": by_source}, rows


def held_out_words(of: Subject) -> MetricsAndItems:
    """Guess the last words of held-out documents: from the document, the words near, and counts."""
    numbers = spread(of.held_out, of.settings.documents)
    texts = (of.tokenizer.decode(document(of.held_out, number)) for number in numbers)
    asked = [found for text in texts if (found := last_words.last_word(text))]
    whole, near = (
        last_words.guesses(
            of.model,
            of.tokenizer,
            [(each.before if all_of_it else each.near, each.word) for each in asked],
            of.settings.batch_size,
            of.job.progress("last words"),
        )
        for all_of_it in (True, False)
    )
    befores = [of.tokenizer.encode(each.before)[-1] for each in asked]
    words = [last_words.word_ids(of.tokenizer, each.word) for each in asked]
    bigram = Bigram.of(of.train, {*befores, *(i for ids in words for i in ids)}, of.unigram)
    counted = [
        Guess("", bigram.guesses(before, ids), bigram.logprob(before, ids))
        for before, ids in zip(befores, words, strict=True)
    ]
    unigram = last_words.perplexity([of.unigram.logprob(ids) for ids in words], of.draws)
    figures = {
        **last_words.figures(whole, of.draws),
        "near": last_words.figures(near, of.draws),
        "bigram": last_words.figures(counted, of.draws),
        "unigram": {"perplexity": unigram},
    }
    rows = [
        {**asdict(each), **asdict(a), "near": asdict(b), "bigram_right": c.right}
        for each, a, b, c in zip(asked, whole, near, counted, strict=True)
    ]
    return figures, rows


def by_heart(of: Subject) -> MetricsAndItems:
    """Measure memorisation of windows of the training text and of held-out text. Leave it out if
    the training did not read the whole training text.
    """
    tokens = half_a_window(of)
    epochs = record.read_json(of.job.folder("pretrain") / "metrics.json")["epochs"]
    if epochs < READ_WHOLE:
        reason = f"{epochs:.2f} epochs of the training text were read"
        return {"window_tokens": tokens, "left_out": reason}, []
    shares: dict[str, list[float]] = {}
    rows = []
    for name, shards in (("training", of.train), ("held_out", of.held_out)):
        texts = memorisation.windows(shards, 2 * tokens, of.settings.windows, of.settings.seed)
        progress = of.job.progress("windows gone on with")
        shares[name] = memorisation.reproduced(of.model, of.tokenizer, texts, tokens, progress)
        rows += [
            {"of": name, "text": of.tokenizer.decode(ids), "reproduced": share}
            for ids, share in zip(texts, shares[name], strict=True)
        ]
    return {"window_tokens": tokens, **memorisation.figures(**shares, draws=of.draws)}, rows


def samples(of: Subject) -> MetricsAndItems:
    """Measure samples at temperature 1, and held-out documents of the same lengths."""
    length = min(of.settings.sample_tokens, of.model.config.block_size - 1)
    written = generate(
        of.model,
        [[of.tokenizer.end_of_text]] * of.settings.samples,
        max_new_tokens=length,
        end_of_text=of.tokenizer.end_of_text,
        ends=of.tokenizer.ends,
        choice=AS_LIKELY,
        seed=of.settings.seed,
    )
    numbers = spread(of.held_out, of.settings.samples)
    documents = [document(of.held_out, number)[:length] for number in numbers]
    ours, theirs = diversity.of_one_length(written, documents)
    figures: dict[str, Any] = {"samples": len(written), "empty": written.count([])}
    rows = []
    for name, mine in (("written", ours), ("held_out", theirs)):
        parts = stretches(of.train, overlap=length)
        longest = diversity.longest_runs(mine, parts)
        figures[name] = diversity.figures(mine, longest, half_a_window(of), of.draws)
        rows += [
            {"of": name, "text": of.tokenizer.decode(ids), "tokens": len(ids), "longest_run": run}
            for ids, run in zip(mine, longest, strict=True)
        ]
    return figures, rows


def grammar(of: Subject) -> MetricsAndItems:
    """Measure minimal pairs whose sentences do not occur in the training text."""
    lists = candidates(of.settings.pairs, of.settings.seed)
    wanted = {text for pairs in lists for pair in pairs for text in (pair.right, pair.wrong)}
    seen = minimal_pairs.sentences_in(of.train, of.tokenizer, wanted)
    pairs = unseen(lists, seen, of.settings.pairs)
    told = minimal_pairs.preferences(
        of.model,
        of.tokenizer,
        [(pair.right, pair.wrong) for pair in pairs],
        of.unigram,
        of.settings.batch_size,
        of.job.progress("sentences of minimal pairs"),
    )
    phenomena = [pair.phenomenon for pair in pairs]
    figures = minimal_pairs.figures(phenomena, told, of.settings.confidence)
    rows = [{**asdict(a), **asdict(b)} for a, b in zip(pairs, told, strict=True)]
    return {**figures, "drawn": len(wanted), "seen": len(seen)}, rows


def half_a_window(of: Subject) -> int:
    """Return the number of tokens in each half of a window: the prompt and its expected
    continuation. A sample counts as copied from the same number of tokens in a row.
    """
    return min(of.settings.window_tokens, of.model.config.block_size // 2)


def spread(shards: Shards, count: int) -> list[int]:
    """Return the numbers of at most `count` documents, spread evenly."""
    count = min(count, shards.documents)
    return [i * shards.documents // count for i in range(count)]


def document(shards: Shards, number: int) -> list[int]:
    """Return the tokens of a document, without its end token."""
    begin = int(shards.ends[number - 1]) if number else 0
    return shards.window(begin, int(shards.ends[number]) - 1 - begin).tolist()
