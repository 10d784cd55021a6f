"""The page: one HTML file with everything in it, figures included. It asks nothing of the network.

In: what the stages left, the headline rows, the figures as PNG. Out: the text of `index.html`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmill.report import chain, form, style, summary, tables
from llmill.report.files import Results, stage_of
from llmill.report.summary import FORMATS, Row, model_name, system_name

TEMPLATE = "page.html.jinja"
SAMPLED_STEPS = 6  # shown of a training's samples, evenly from first to last


@dataclass(frozen=True)
class Image:
    """A figure in both themes, and what it shows in words."""

    light: bytes
    dark: bytes
    alt: str


@dataclass(frozen=True)
class Setting:
    """What the report itself was asked for."""

    title: str
    examples: int
    parameters: Mapping[str, Any]


def render(
    results: Results,
    rows: Sequence[Row],
    gains: Mapping[str, Any],
    images: Mapping[str, Image],
    setting: Setting,
) -> str:
    """The whole page."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"data_uri": style.data_uri, "words": form.words}
    return environment.get_template(TEMPLATE).render(
        title=setting.title,
        summary=summary.sentence(results),
        headlines=tables.headlines(rows),
        images=images,
        tables=tables,
        form=form,
        results=results,
        pictures=pictures(results),
        notes=notes(results),
        parameters=stage_parameters(results, setting),
        samples=samples(results.samples),
        examples={m: examples(results.scores[m], setting.examples) for m in results.scores},
        model_name=model_name,
    )


def pictures(results: Results) -> dict[str, chain.Picture]:
    """The chain in both directions, joined as the records say; the report reads every stage."""
    inputs: dict[str, list[str]] = {}
    for address, record in results.records.items():
        inputs.setdefault(stage_of(address), []).extend(record.get("inputs", {}))
    graph = chain.parents(results.folders, inputs) | {"report": set(inputs)}
    return {"across": chain.across(graph), "down": chain.down(graph)}


def notes(results: Results) -> dict[str, str]:
    """A few words under each stage of the picture."""
    metrics = results.metrics
    accuracy = metrics["accuracy"]
    best = accuracy.get("variants", {}).get(accuracy.get("best"), {}).get("accuracy")
    mmlu = next((metrics[f"mmlu@{model}"] for model in results.variants["mmlu"]), {})
    cloze = mmlu.get("cloze", {}).get("all")
    judged = [metrics[f"judge@{model}"].get("exact_match") for model in results.variants["judge"]]
    total = sum(
        file.get("bytes") or 0
        for listed in results.sources.values()
        for e in listed
        for file in e["files"]
    )
    texts = {
        "download": form.size(total),
        "prepare": f"{_count(metrics['prepare'].get('text', {}), 'train_documents')} texts",
        "tokenizer": f"{_count(metrics['tokenizer'], 'n_vocab')} tokens",
        "tokenize": f"{form.short(metrics['tokenize'].get('train', {}).get('tokens'))} tokens",
        "pretrain": f"{_count(metrics['pretrain'], 'steps')} steps",
        "classify": f"{len(results.variants['classify'])} variants",
        "instruct": f"{_count(metrics['instruct'], 'steps')} steps",
        "grader": f"{_count(metrics['grader'], 'steps')} steps",
        "accuracy": form.number(best, "share"),
        "mmlu": form.number(cloze, "share"),
        "judge": f"{form.number(judged[-1], 'share')} exact" if judged else form.DASH,
        "report": "this page",
    }
    texts |= {stage: "skipped" for stage in texts if results.skipped(stage)}
    return {
        stage: note.replace(" million", "M").replace(" billion", "G")
        for stage, note in texts.items()
    }


def stage_parameters(results: Results, setting: Setting) -> dict[str, tables.Table]:
    """The parameters of each stage; the variants of a matrix share theirs."""
    parameters: dict[str, tables.Table] = {}
    for address, record in results.records.items():
        parameters.setdefault(stage_of(address), tables.parameters(record.get("parameters", {})))
    return {**parameters, "report": tables.parameters(setting.parameters)}


def samples(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """What was written along training, by prompt: at most SAMPLED_STEPS steps, evenly."""
    steps = sorted({row["step"] for row in rows})
    last, count = len(steps) - 1, min(SAMPLED_STEPS, len(steps))
    selected = {steps[round(i * last / max(1, count - 1))] for i in range(count)}
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["step"] in selected:
            by_prompt.setdefault(row["prompt"], []).append(row)
    return by_prompt


def examples(scores: Sequence[Mapping[str, Any]], count: int) -> dict[str, list[Mapping[str, Any]]]:
    """The best and the worst judged answers; of equals the first asked."""
    judged = [row for row in scores if row.get("score") is not None]
    best = sorted(judged, key=lambda row: -row["score"])[:count]
    worst = sorted(judged, key=lambda row: row["score"])[:count]
    return {"best": best, "worst": worst}


def alt_texts(results: Results) -> dict[str, str]:
    """What each figure shows, in words, for those who do not see it."""
    metrics, accuracy = results.metrics, results.metrics["accuracy"]
    losses = {a: metrics[a].get("validation_loss") for a in results.curves}
    right = {system_name(s): f.get("accuracy") for s, f in summary.systems(accuracy).items()}
    shares = {
        f"{model_name(model)} in {kind} format": metrics[f"mmlu@{model}"].get(kind, {}).get("all")
        for model in results.variants["mmlu"]
        for kind in FORMATS
    }
    means = {model_name(m): metrics[f"judge@{m}"].get("mean") for m in results.variants["judge"]}
    best = system_name(accuracy.get("best") or form.DASH)
    spearman = form.with_interval(metrics["grader"].get("spearman"), "plain")
    overall = f"Over all: {_listed(shares, 'share')}."
    return {
        "loss": f"Training and validation loss by step. At the end: {_listed(losses, 'nats')}.",
        "classification": f"Test accuracy with intervals: {_listed(right, 'share')}.",
        "by_parameters": f"Test accuracy by the parameters trained: {_listed(right, 'share')}.",
        "confusion": f"Test messages by true and predicted label, for {best}.",
        "mmlu_levels": f"Questions right by level, with intervals. {overall}",
        "mmlu_subjects": f"Questions right by subject, with intervals. {overall}",
        "judge": f"Scores of 100, exact matches, spread. Mean scores: {_listed(means, 'points')}.",
        "grader": f"The judge's scores of answers by their known worth; Spearman {spearman}.",
    }


def _listed(items: Mapping[str, Any], unit: str) -> str:
    return "; ".join(f"{name} {form.with_interval(item, unit)}" for name, item in items.items())


def _count(metrics: Mapping[str, Any], name: str) -> str:
    return form.number(metrics.get(name), "count")
