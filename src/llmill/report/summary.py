"""The headline metrics: the same rows for the page, `dvc metrics show` and the end of `make run`.

Input: the metrics of the stages. Output: rows with value, interval, number of observations, and
what to compare with.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llmill.report import bar, form
from llmill.report.about import ABOUT, PAIRED, about, model_name
from llmill.report.files import Results, stage_of, variant_of

SYSTEMS = {"majority": "majority class", "tfidf": "TF-IDF with logistic regression"}
FORMATS = ("cloze", "letter")
BRACES = re.compile(r"\{(?P<path>[\w.]+)(:(?P<unit>\w+))?\}")  # as in `Headline.against`
PROBES = {  # mean scores by probe; only references depend on the instruction
    "reference": "mean score of the references",
    "another": "mean score of another task's reference",
    "constant": "mean score of “It is true.”",
    "empty": "mean score of an empty answer",
}


@dataclass(frozen=True)
class Row:
    """A metric with its machine-readable name `key`; `unit` is one of `form.number`."""

    key: str
    group: str
    name: str
    unit: str
    figure: Any  # an interval, a number, or None
    against: str = ""


def system_name(system: str) -> str:
    """Return a readable name of a classifier or baseline."""
    return SYSTEMS.get(system, form.words(system))


def systems(accuracy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metrics of every system: the baselines, then the variants in their own order."""
    baselines = accuracy.get("baselines", {})
    order = sorted(baselines, key=lambda name: (name not in SYSTEMS, [*SYSTEMS, name].index(name)))
    return {**{name: baselines[name] for name in order}, **accuracy.get("variants", {})}


def rows(results: Results, gains: dict[str, Any]) -> list[Row]:
    """Return all headline metrics. `gains` are the models' mean scores minus the first model's."""
    found: list[Row] = []
    for stage in ABOUT:
        if addresses := results.made(stage):
            found += (row for address in addresses for row in _declared(address, results))
            found += FURTHER[stage](results, gains) if stage in FURTHER else ()
    return found


def flat(rows: list[Row]) -> dict[str, float]:
    """Return the values by key, for `metrics.json`."""
    return {row.key: v for row in rows if (v := form.value_of(row.figure)) is not None}


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the rows as JSON values, for `summary.json`."""
    return [asdict(row) for row in rows]


def sentence(results: Results) -> str:
    """Summarise the run, without skipped stages, in a few sentences."""
    trained, accuracy = results.metrics["pretrain"], results.metrics["accuracy"]
    sizes = [form.short(trained.get(name)) for name in ("parameters", "tokens")]
    has = f"The foundation model has {sizes[0]} parameters"
    sentences = [f"{has} and was trained on {sizes[1]} tokens"]
    if results.sources.get("init"):
        further = "not trained further"
        if trained.get("tokens"):
            further = f"trained on {sizes[1]} further tokens"
        sentences = [has, f"It was loaded and {further}"]
    for model in results.variants["mmlu"][:1]:
        mmlu = results.metrics[f"mmlu@{model}"]
        right = form.in_words(mmlu.get("cloze", {}).get("all"), "share")
        chance = form.number(mmlu.get("chance"), "share")
        sentences.append(
            f"It answers {right} of the questions correctly in the cloze format, where chance is "
            f"{chance}"
        )
    if not results.skipped("accuracy"):
        best = accuracy.get("best") or ""
        share = accuracy.get("variants", {}).get(best, {}).get("accuracy")
        sentences.append(
            f"The best classifier (variant {form.words(best) or form.DASH}) is right "
            f"on {form.in_words(share, 'share')} of the test messages"
        )
    for model in results.variants["judge"][-1:]:
        exact = form.in_words(results.metrics[f"judge@{model}"].get("exact_match"), "share")
        sentences.append(
            f"Of the answers of the {model_name(model)}, {exact} match the reference word for word"
        )
    return ". ".join(sentences) + "."


def _declared(address: str, results: Results) -> Iterator[Row]:
    """Yield the headlines that `ABOUT` lists for a stage."""
    stage, variant = stage_of(address), variant_of(address)
    shown, metrics = about(stage), results.metrics[address]
    group = f"{shown.heading}, {model_name(variant)}" if variant else shown.heading
    for each in shown.headlines:

        def beside(named: re.Match[str], unit: str = each.unit) -> str:
            other = form.at(metrics, named["path"])
            return (
                form.in_words(other, named["unit"]) if named["unit"] else form.number(other, unit)
            )

        figure = form.at(metrics, each.path)
        if figure is None:  # the data have nothing to measure it on
            continue
        key = ".".join(filter(None, (stage, variant, each.key)))
        against = BRACES.sub(beside, each.against)
        yield Row(key, group, each.name, each.unit, figure, against)


def _by_source(results: Results, gains: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the losses by source of a training that began from weights."""
    group = "Foundation model, loss by source, nats per token"
    for source, losses in results.metrics["pretrain"].get("by_source", {}).items():
        figure = {"value": losses["after"], "n": losses["tokens"]}
        before = f"before {form.number(losses['before'], 'nats')}"
        yield Row(f"pretrain.by_source.{source}", group, source, "nats", figure, before)


def _questions(results: Results, gains: Mapping[str, Any]) -> Iterator[Row]:
    for model in results.variants["mmlu"]:
        metrics = results.metrics[f"mmlu@{model}"]
        chance = f"chance {form.number(metrics.get('chance'), 'share')}"
        for kind in FORMATS:
            shares = metrics.get(kind, {})
            group = f"{kind.capitalize()} questions, {model_name(model)}"
            key = f"mmlu.{model}.{kind}"
            yield Row(key, group, "all questions", "share", shares.get("all"), chance)
            # The letter format stays at chance at every level.
            levels = shares.get("levels", {}) if kind == "cloze" else {}
            for level, figure in levels.items():
                yield Row(f"{key}.{level}", group, form.words(level), "share", figure, chance)


def _classification(results: Results, gains: Mapping[str, Any]) -> Iterator[Row]:
    metrics = results.metrics["accuracy"]
    group, best = "Classification, test accuracy", metrics.get("best")
    for system, figures in systems(metrics).items():
        name = system_name(system) + (" (best on validation)" if system == best else "")
        yield Row(f"classify.{system}", group, name, "share", figures.get("accuracy"))
    for variant, figures in metrics.get("variants", {}).items():
        f1, name = figures.get("macro_f1"), system_name(variant)
        yield Row(f"classify.{variant}.macro_f1", "Classification, macro F1", name, "share", f1)
    compared = metrics.get("best_against_tfidf", {}).get("difference")
    beside = f"TF-IDF, {PAIRED}"
    yield Row("classify.gain", group, "best minus TF-IDF, points", "gain", compared, beside)
    group = "Classification by the best variant, further tests"
    for test, found in metrics.get("tests", {}).items():
        shares = {name: each.get("accuracy") for name, each in found["systems"].items()}
        beside = ", ".join(
            f"{SYSTEMS[name]} {form.number(shares[name], 'share')}"
            for name in SYSTEMS
            if name in shares
        )
        right = shares.get(best)
        yield Row(f"classify.tests.{test}", group, form.words(test), "share", right, beside)


def _judge(results: Results, gains: Mapping[str, Any]) -> Iterator[Row]:
    group = "Answers to the test instructions, exact match"
    for model in reversed(results.variants["judge"]):
        exact = results.metrics[f"judge@{model}"].get("exact_match")
        yield Row(f"judge.{model}.exact_match", group, model_name(model), "share", exact)
    group = "Answers to the test instructions, ROUGE-L (words in common, in order)"
    for model in reversed(results.variants["judge"]):
        overlap = results.metrics[f"judge@{model}"].get("rouge_l")
        yield Row(f"judge.{model}.rouge_l", group, model_name(model), "share", overlap)
    if not judge_short_of(results):
        group = "Answers to the test instructions, score of the judge (0 to 100)"
        for model in reversed(results.variants["judge"]):
            name, mean = model_name(model), results.metrics[f"judge@{model}"].get("mean")
            yield Row(f"judge.{model}", group, f"{name}, mean", "points", mean)
        beside = ", ".join([*map(model_name, results.variants["judge"][:1]), PAIRED])
        for model, gain in gains.items():
            name = f"gain of the {model_name(model)}"
            yield Row(f"judge.{model}.gain", group, name, "points", gain, beside)
    if not _embedded(results):
        return
    group = "Quality of the judge"
    for model in reversed(results.variants["judge"]):
        metrics = results.metrics[f"judge@{model}"]
        beside = ", ".join(
            f"{words} {form.number(metrics.get(f'auc_{key}'), 'share')}"
            for key, words in {"longest": "longer answer", "rouge_l": "ROUGE-L"}.items()
        )
        if "auc" in metrics:
            name = f"right answers of the {model_name(model)} ranked above others"
            yield Row(f"judge.{model}.auc", group, name, "share", metrics["auc"], beside)
    probes = results.metrics["grader"].get("gives", {})
    for probe, name in PROBES.items():
        if probe in probes:
            yield Row(f"judge.gives.{probe}", group, name, "points", probes[probe])


def _embedded(results: Results) -> bool:
    judged = (results.metrics[f"judge@{model}"] for model in results.variants["judge"])
    return any(metrics.get("backend") == "grader" for metrics in judged)


def judge_short_of(results: Results) -> list[str]:
    """Return why the mean scores of the embedded judge are not shown; empty if they are."""
    return bar.missed([results.metrics[f"judge@{model}"] for model in results.variants["judge"]])


FURTHER: dict[str, Callable[[Results, Mapping[str, Any]], Iterator[Row]]] = {
    # Rows that `ABOUT` cannot express.
    "pretrain": _by_source,
    "mmlu": _questions,
    "accuracy": _classification,
    "judge": _judge,
}
