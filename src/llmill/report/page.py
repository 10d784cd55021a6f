"""The page: one self-contained HTML file, figures included. It makes no network requests.

Input: the results of the stages, the headline rows, the figures as PNG. Output: the text of
`index.html`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmill.report import (
    chain,
    cuts,
    evaluations,
    form,
    keeping,
    preferences,
    signals,
    style,
    summary,
    tables,
    templates,
)
from llmill.report.about import about, model_name
from llmill.report.files import Results, stage_of
from llmill.report.summary import FORMATS, Row, system_name

TEMPLATE = "page.html.jinja"
SAMPLED_STEPS = 6  # steps whose samples are shown, evenly from first to last


@dataclass(frozen=True)
class Image:
    """A figure in both themes as PNG, and its alternative text."""

    light: bytes
    dark: bytes
    alt: str


@dataclass(frozen=True)
class Setting:
    """The parameters of the report."""

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
    """Render the page."""
    filters: dict[str, Callable[..., Any]] = {"data_uri": style.data_uri, "words": form.words}
    return templates.page(TEMPLATE, filters).render(
        title=setting.title,
        summary=summary.sentence(results),
        headlines=tables.headlines(rows),
        images=images,
        tables=tables,
        evaluations=evaluations,
        keeping=keeping,
        preferences=preferences,
        cuts=cuts,
        signals=signals,
        form=form,
        results=results,
        pictures=pictures(results),
        notes=notes(results),
        short_rows=short_rows(results),
        parameters=stage_parameters(results, setting),
        samples=samples(results.samples),
        short_of=summary.judge_short_of(results),
        examples={m: examples(results.scores[m], setting.examples) for m in results.scores},
        model_name=model_name,
    )


def pictures(results: Results) -> dict[str, chain.Picture]:
    """Lay out the chain both ways, with arrows by the records; the report reads every stage."""
    inputs: dict[str, list[str]] = {}
    for address, record in results.records.items():
        inputs.setdefault(stage_of(address), []).extend(record.get("inputs", {}))
    graph = chain.parents(results.folders, inputs) | {"report": set(inputs)}
    return {"across": chain.across(graph), "down": chain.down(graph)}


def notes(results: Results) -> dict[str, str]:
    """Return the note below each stage of the picture."""
    accuracy = results.metrics["accuracy"]
    best = accuracy.get("variants", {}).get(accuracy.get("best"), {}).get("accuracy")
    files = (f for listed in results.sources.values() for entry in listed for f in entry["files"])
    texts = {stage: note(stage, results) for stage in results.folders}
    texts |= {
        "download": form.size(sum(file.get("bytes") or 0 for file in files)),
        "accuracy": form.number(best, "share"),
        "report": "this page",
    }
    texts |= {stage: "skipped" for stage in texts if results.skipped(stage)}
    return {
        stage: text.replace(" million", "M").replace(" billion", "G")
        for stage, text in texts.items()
    }


def note(stage: str, results: Results) -> str:
    """Return the metric that `ABOUT` names, the number of variants, or the number of steps."""
    addresses, named = results.made(stage), about(stage).note
    if not addresses:
        return form.DASH
    if named is not None:
        metrics = results.metrics[addresses[named.variant]]
        return f"{form.number(form.at(metrics, named.path), named.unit)} {named.words}".rstrip()
    if len(addresses) > 1 or stage in results.variants:
        return f"{len(addresses)} variants"
    return f"{_count(results.metrics[stage], 'steps')} steps" if stage in results.curves else ""


def short_rows(results: Results) -> str:
    """Return the lengths of rows of pretraining as parts of the context, phase by phase: `1/4, 1/2,
    all`; "" if all were whole, or nothing was trained.
    """
    sections = results.records.get("pretrain", {}).get("parameters", {})
    times = sections.get("pretrain", {}).get("shorten_rows", [1])
    if set(times) == {1} or not results.metrics.get("pretrain", {}).get("steps"):
        return ""
    return ", ".join("all" if n == 1 else f"1/{n}" for n in times)


def stage_parameters(results: Results, setting: Setting) -> dict[str, tables.Table]:
    """Return the parameters of each stage, those of all its variants together."""
    parameters: dict[str, Mapping[str, Any]] = {}
    for address, record in results.records.items():
        stage, own = stage_of(address), record.get("parameters", {})
        parameters[stage] = _joined(parameters.get(stage, {}), own)
    parameters["report"] = setting.parameters
    return {stage: tables.parameters(sections) for stage, sections in parameters.items()}


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Join two mappings, and the mappings that both of them hold."""
    both = {
        key: _joined(one[key], value)
        for key, value in other.items()
        if isinstance(one.get(key), Mapping) and isinstance(value, Mapping)
    }
    return {**one, **other, **both}


def samples(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the samples by prompt, from at most SAMPLED_STEPS steps, evenly spaced."""
    steps = sorted({row["step"] for row in rows})
    last, count = len(steps) - 1, min(SAMPLED_STEPS, len(steps))
    selected = {steps[round(i * last / max(1, count - 1))] for i in range(count)}
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["step"] in selected:
            by_prompt.setdefault(row["prompt"], []).append(row)
    return by_prompt


def examples(scores: Sequence[Mapping[str, Any]], count: int) -> dict[str, list[Mapping[str, Any]]]:
    """Return the best and the worst judged answers; ties keep their order."""
    judged = [row for row in scores if row.get("score") is not None]
    best = sorted(judged, key=lambda row: -row["score"])[:count]
    worst = sorted(judged, key=lambda row: row["score"])[:count]
    return {"best": best, "worst": worst}


def alt_texts(results: Results) -> dict[str, str]:
    """Return the alternative text of each figure, for readers who do not see it."""
    metrics, accuracy = results.metrics, results.metrics["accuracy"]
    losses = {a: (curve or [{}])[-1].get("validation_loss") for a, curve in results.curves.items()}
    right = {system_name(s): f.get("accuracy") for s, f in summary.systems(accuracy).items()}
    trained = {n: right[system_name(n)] for n in accuracy.get("variants", {})}
    shares = {
        f"{model_name(model)} in {kind} format": metrics[f"mmlu@{model}"].get(kind, {}).get("all")
        for model in results.variants["mmlu"]
        for kind in FORMATS
    }
    means = {model_name(m): metrics[f"judge@{m}"].get("mean") for m in results.variants["judge"]}
    best = system_name(accuracy.get("best") or form.DASH)
    compared = "; ".join(
        f"{model_name(m)} {form.in_words(task, 'share')} and {form.in_words(known, 'share')}"
        for m, (task, known) in keeping.points(results).items()
    )
    above = form.in_words(metrics["grader"].get("above_another"), "share")
    overall = f"All questions: {_listed(shares, 'share')}."
    scores = _listed(means, "points")
    return {
        "loss": f"Training and validation loss by step. At the end: {_listed(losses, 'nats')}.",
        "classification": f"Test accuracy with intervals: {_listed(right, 'share')}.",
        "by_parameters": f"Test accuracy by trained parameters: {_listed(trained, 'share')}.",
        "confusion": f"Test messages by true and predicted label, for {best}.",
        "mmlu_levels": f"Accuracy on questions by level, with intervals. {overall}",
        "mmlu_subjects": f"Accuracy on questions by subject, with intervals. {overall}",
        "task_and_knowledge": f"Exact match on instructions and cloze questions right: {compared}.",
        "preferences": f"Validation pairs by step. {preferences.ends(results)}",
        "judge": f"Scores from 0 to 100, exact match, distribution. Mean scores: {scores}.",
        "grader": f"The judge's scores by known score. References above another task's: {above}.",
    }


def _listed(items: Mapping[str, Any], unit: str) -> str:
    return "; ".join(f"{name} {form.in_words(item, unit)}" for name, item in items.items())


def _count(metrics: Mapping[str, Any], name: str) -> str:
    return form.number(metrics.get(name), "count")
