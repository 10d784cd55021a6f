"""Measure the foundation model by what tells small models apart.

    python -m llmill signals

In: the foundation model, the tokens of the training text and of the held-out text. Out:
`metrics.json`, `items.json`. Bits a byte of held-out documents and their last words, how much of
the training text is known by heart, how unlike each other samples are, and minimal pairs; beside
each figure, what knows nothing of the context gets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation import (
    bits_per_byte,
    diversity,
    last_words,
    memorisation,
    minimal_pairs,
    statistics,
)
from llmill.evaluation.bits_per_byte import Scored
from llmill.evaluation.counts import Bigram, Unigram, stretches
from llmill.evaluation.statistics import Draws, Interval
from llmill.model import checkpoint
from llmill.model.generate import Choice, generate
from llmill.model.transformer import Transformer
from llmill.stages.settings.signals import Signals
from llmill.text.shards import Shards
from llmill.text.tokenizer import Tokenizer
from llmill.world.minimal_pairs import candidates, unseen

if TYPE_CHECKING:
    from llmill.contract.job import Job

AS_IT_IS = Choice(temperature=1.0)  # every token as likely as the model says
Items = list[dict[str, Any]]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    signals: Signals


@dataclass(frozen=True)
class Measured:
    """What every measure is of."""

    model: Transformer
    tokenizer: Tokenizer
    train: Shards
    held_out: Shards
    unigram: Unigram
    settings: Signals
    job: Job

    @property
    def draws(self) -> Draws:
        """How intervals are drawn."""
        settings = self.settings
        return {
            "confidence": settings.confidence,
            "resamples": settings.bootstrap,
            "seed": settings.seed,
        }


def run(params: Parameters, job: Job) -> None:
    """Take one measure after the other."""
    settings = params.signals
    loaded = checkpoint.load_language_model(job.folder("pretrain") / "checkpoint")
    train, held_out = (Shards.load(job.folder("tokenize") / name) for name in ("train", "validate"))
    if not held_out.documents:
        raise UserError(f"{job.folder('tokenize') / 'validate'}: no held-out document")
    runtime.start(settings.seed, settings.threads)
    of = Measured(
        loaded.model, loaded.tokenizer, train, held_out, Unigram.of(train), settings, job
    )
    measures = {
        "bits_per_byte": held_out_bits,
        "last_words": held_out_words,
        "memorisation": by_heart,
        "samples": sampled,
        "minimal_pairs": grammar,
    }
    metrics: dict[str, Any] = {}
    items: dict[str, Items] = {}
    for name, measure in measures.items():
        metrics[name], items[name] = measure(of)
    record.write_json(job.out / "items.json", items)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics(statistics.flat(metrics))
    job.say(
        f"{value(metrics['bits_per_byte']['all']):.3f} bits a byte; last words "
        f"{value(metrics['last_words']['accuracy']):.1%}; minimal pairs "
        f"{value(metrics['minimal_pairs']['all']):.1%}"
    )


def held_out_bits(of: Measured) -> tuple[dict[str, Any], Items]:
    """Bits a byte of held-out documents, all and by source; those of a unigram and of gzip."""
    numbers = spread(of.held_out.documents, of.settings.documents)
    ids = [document(of.held_out, number) for number in numbers]
    texts = [of.tokenizer.decode(each) for each in ids]
    sources = [of.held_out.sources[of.held_out.source[number]] for number in numbers]
    begun = [[of.tokenizer.end_of_text, *each] for each in ids]
    window = of.model.config.block_size
    progress = of.job.progress("stretches of held-out text")
    nats = bits_per_byte.nats(of.model, begun, window, of.settings.batch_size, progress)
    sizes = [(len(each), len(text.encode()), len(text.split())) for each, text in zip(ids, texts, strict=True)]
    scored = [Scored(n, *size) for n, size in zip(nats, sizes, strict=True)]
    counted = [
        Scored(-of.unigram.logprob(each), *size) for each, size in zip(ids, sizes, strict=True)
    ]

    def figures(which: Sequence[int]) -> dict[str, Any]:
        mine = [scored[i] for i in which]
        return {
            "all": bits_per_byte.of(mine, of.draws),
            "unigram": bits_per_byte.of([counted[i] for i in which], of.draws),
            "gzip": bits_per_byte.of_gzip([texts[i] for i in which]),
            "nats_per_token": bits_per_byte.nats_per_token(mine),
            "word_perplexity": bits_per_byte.word_perplexity(mine),
            "bytes": sum(each.n_bytes for each in mine),
            "tokens": sum(each.tokens for each in mine),
        }

    by_source = {
        name: figures([i for i, source in enumerate(sources) if source == name])
        for name in sorted(set(sources))
    }
    rows = [
        {"source": source, "text": text, "unigram_nats": count.nats, **asdict(each)}
        for source, text, each, count in zip(sources, texts, scored, counted, strict=True)
    ]
    return {**figures(range(len(scored))), "sources": by_source}, rows


def held_out_words(of: Measured) -> tuple[dict[str, Any], Items]:
    """The last words of held-out documents, from the document, from the words near, by counts."""
    numbers = spread(of.held_out.documents, of.settings.documents)
    texts = (of.tokenizer.decode(document(of.held_out, number)) for number in numbers)
    asked = [found for text in texts if (found := last_words.last_word(text))]

    def guesses(shown: list[str]) -> list[last_words.Guess]:
        pairs = [(text, each.word) for text, each in zip(shown, asked, strict=True)]
        progress = of.job.progress("last words")
        return last_words.guesses(
            of.model, of.tokenizer, pairs, of.settings.batch_size, progress
        )

    read = guesses([each.before for each in asked])
    near = guesses([each.near for each in asked])
    befores = [of.tokenizer.encode(each.before)[-1] for each in asked]
    words = [last_words.word_ids(of.tokenizer, each.word) for each in asked]
    firsts = {token for first, ids in zip(befores, words, strict=True) for token in [first, *ids]}
    bigram = Bigram.of(of.train, sorted(firsts), of.unigram)
    counted = [
        last_words.Guess("", bigram.guesses(first, ids), bigram.logprob(first, ids))
        for first, ids in zip(befores, words, strict=True)
    ]
    unigram = [of.unigram.logprob(ids) for ids in words]
    metrics = {
        **word_figures(read, of),
        "near": word_figures(near, of),
        "bigram": word_figures(counted, of),
        "unigram": {"perplexity": perplexity(unigram, of.draws)},
        "documents": len(asked),
    }
    rows = [
        {
            "before": each.before,
            "word": each.word,
            "said": whole.text,
            "said_near": part.text,
            "right": whole.right,
            "right_near": part.right,
            "right_bigram": count.right,
            "logprob": whole.logprob,
        }
        for each, whole, part, count in zip(asked, read, near, counted, strict=True)
    ]
    return metrics, rows


def word_figures(guesses: Sequence[last_words.Guess], of: Measured) -> dict[str, Any]:
    """The share right and the perplexity of a word."""
    right = sum(each.right for each in guesses)
    return {
        "accuracy": statistics.share(right, len(guesses), of.settings.confidence),
        "perplexity": perplexity([each.logprob for each in guesses], of.draws),
    }


def perplexity(logprobs: Sequence[float], draws: Draws) -> Interval | None:
    """By the mean log-probability of a word, in nats; None of no words."""
    if not logprobs:
        return None
    return statistics.bootstrap(lambda each: float(np.exp(-each.mean())), [logprobs], **draws)


def by_heart(of: Measured) -> tuple[dict[str, Any], Items]:
    """Windows of the training text that are gone on with as they do, and held-out ones."""
    prompt = min(of.settings.window_tokens, of.model.config.block_size // 2)
    shares: dict[str, list[float]] = {}
    rows: Items = []
    for name, shards in (("training", of.train), ("held_out", of.held_out)):
        texts = memorisation.windows(shards, 2 * prompt, of.settings.windows, of.settings.seed)
        progress = of.job.progress(f"windows, {name.replace('_', ' ')}")
        shares[name] = memorisation.reproduced(of.model, of.tokenizer, texts, prompt, progress)
        rows += [
            {"of": name, "text": of.tokenizer.decode(ids), "reproduced": share}
            for ids, share in zip(texts, shares[name], strict=True)
        ]
    figures: dict[str, Any] = {
        name: {
            "whole": statistics.share(found.count(1.0), len(found), of.settings.confidence),
            "tokens": statistics.mean(found, **of.draws) if found else None,
        }
        for name, found in shares.items()
    }
    figures["difference"] = {
        each: statistics.difference(figures["training"][each], figures["held_out"][each])
        if all(shares.values())
        else None
        for each in ("whole", "tokens")
    }
    return {"window_tokens": prompt, **figures}, rows


def sampled(of: Measured) -> tuple[dict[str, Any], Items]:
    """Samples at temperature 1, and held-out documents cut to their lengths."""
    settings, length = of.settings, min(of.settings.max_new_tokens, of.model.config.block_size - 1)
    written = generate(
        of.model,
        [[of.tokenizer.end_of_text]] * settings.samples,
        max_new_tokens=length,
        end_of_text=of.tokenizer.end_of_text,
        ends=of.tokenizer.ends,
        choice=AS_IT_IS,
        seed=settings.seed,
    )
    numbers = spread(of.held_out.documents, settings.samples)
    documents = [document(of.held_out, number)[:length] for number in numbers]
    ours, theirs = diversity.of_one_length(written, documents)
    texts = {"written": ours, "held_out": theirs}
    both = [*ours, *theirs]
    parts = stretches(of.train, overlap=max(map(len, both), default=0))
    runs = diversity.longest_runs(both, parts)
    metrics: dict[str, Any] = {"samples": len(written), "empty": written.count([])}
    rows: Items = []
    for name, mine in texts.items():
        longest = runs[: len(ours)] if name == "written" else runs[len(ours) :]
        metrics[name] = sample_figures(mine, longest, of)
        rows += [
            {"of": name, "text": of.tokenizer.decode(ids), "tokens": len(ids), "longest_run": run}
            for ids, run in zip(mine, longest, strict=True)
        ]
    return metrics, rows


def sample_figures(
    texts: Sequence[Sequence[int]], longest: Sequence[int], of: Measured
) -> dict[str, Any]:
    """What is said of samples: of texts by the tokens, and by what stands in the training text."""
    confidence, tokens = of.settings.confidence, of.settings.window_tokens
    repeats = [diversity.repeated(text) for text in texts]
    copied = sum(run >= tokens for run in longest)
    return {
        **{f"distinct_{n}": diversity.distinct(texts, n, confidence) for n in (1, 2, 3)},
        "repeated_4": statistics.mean(repeats, **of.draws) if texts else None,
        "copied": statistics.share(copied, len(texts), confidence),
        "longest_run": statistics.mean(longest, **of.draws) if texts else None,
        "tokens": sum(map(len, texts)),
    }


def grammar(of: Measured) -> tuple[dict[str, Any], Items]:
    """Minimal pairs of which the training text has no sentence."""
    lists = candidates(of.settings.pairs, of.settings.seed)
    wanted = {text for pairs in lists for pair in pairs for text in (pair.right, pair.wrong)}
    seen = minimal_pairs.sentences_in(of.train, of.tokenizer, wanted)
    pairs = unseen(lists, seen, of.settings.pairs)
    preferences = minimal_pairs.preferences(
        of.model,
        of.tokenizer,
        [(pair.right, pair.wrong) for pair in pairs],
        of.unigram,
        of.settings.batch_size,
        of.job.progress("sentences of minimal pairs"),
    )
    rows = [
        {**asdict(pair), **asdict(preference)}
        for pair, preference in zip(pairs, preferences, strict=True)
    ]

    def shares(who: str) -> dict[str, Interval]:
        return {
            name: statistics.share(sum(told), len(told), of.settings.confidence)
            for name in dict.fromkeys(pair.phenomenon for pair in pairs)
            if (told := [row[who] for row in rows if row["phenomenon"] == name])
        }

    by_phenomenon = {who: shares(who) for who in ("model", "unigram", "shorter")}
    means = {who: mean_or_none(list(each.values())) for who, each in by_phenomenon.items()}
    phenomena = {
        name: {who: each[name] for who, each in by_phenomenon.items()}
        for name in by_phenomenon["model"]
    }
    return {
        "all": means["model"],
        "unigram": means["unigram"],
        "shorter": means["shorter"],
        "seen": len(seen),
        "phenomena": phenomena,
    }, rows


def mean_or_none(shares: Sequence[Interval]) -> Interval | None:
    """The mean over phenomena; None of none."""
    return statistics.mean_of_shares(shares) if shares else None


def spread(available: int, count: int) -> list[int]:
    """The numbers of so many documents, or of all, spread evenly."""
    count = min(count, available)
    return [i * available // count for i in range(count)]


def document(shards: Shards, number: int) -> list[int]:
    """The tokens of a document, without what ends it."""
    begin = int(shards.ends[number - 1]) if number else 0
    return shards.window(begin, int(shards.ends[number]) - 1 - begin).tolist()


def value(figure: Interval | None) -> float:
    """NaN of none."""
    return math.nan if figure is None else float(figure["value"])
