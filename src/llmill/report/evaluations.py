"""Tables of the evaluations of language models: questions, instructions with judged answers, and
the overlap of both with the training text.
"""

from collections.abc import Mapping
from typing import Any

from llmill.report import form
from llmill.report.about import model_name
from llmill.report.files import Results
from llmill.report.form import number, words
from llmill.report.summary import FORMATS, system_name
from llmill.report.tables import Cell, Table, with_intervals

RATERS = {"rules": "the rules", "exact_match": "exact match", "rouge_l": "ROUGE-L"}
MEASURES = {"exact_match": "share", "mean": "points", "rouge_l": "share"}  # units, by kind
LENGTHS = {"right": "right answers", "others": "other answers"}


def questions(results: Results, groups: str) -> Table:
    """Accuracy by subject or by level, for both formats and every model."""
    models = results.variants["mmlu"]
    cells = {
        (model, kind): results.metrics[f"mmlu@{model}"].get(kind, {})
        for kind in FORMATS
        for model in models
    }
    names = list(dict.fromkeys(n for shares in cells.values() for n in shares.get(groups, {})))
    rows: list[list[Cell]] = [
        [
            words(name),
            *((f.get(groups, {}).get(name), "share") for f in cells.values()),
        ]
        for name in names
    ]
    whole = {"all": "all questions", "subject_mean": "mean over subjects"}
    for key, name in whole.items():
        rows.append([name, *((f.get(key), "share") for f in cells.values())])
    head = [f"{kind}, {model_name(model)}" for model, kind in cells]
    return with_intervals([groups.removesuffix("s"), *head], rows)


def ways_to_pick(results: Results) -> Table:
    """Accuracy on all questions by each unit, and a baseline: in a model's row, the same model
    without the question. The last rows are picks without a model.
    """
    asked = results.metrics[f"mmlu@{results.variants['mmlu'][0]}"]
    units = list(form.at(asked, "cloze.by") or {})
    rows: list[list[Cell]] = []
    for model in results.variants["mmlu"]:
        for kind in FORMATS:
            found = results.metrics[f"mmlu@{model}"].get(kind, {})
            shares = [*(form.at(found, f"by.{unit}.all") for unit in units), found.get("blind")]
            error = form.number(found.get("calibration_error"), "share")
            cells: list[Cell] = [(share, "share") for share in shares]
            rows.append([f"{kind}, {model_name(model)}", *cells, error])
    for key, name in {"longest": "longest choice", "most_shared": "most words in common"}.items():
        rows.append([name, *[form.DASH] * len(units), (asked.get(key), "share"), form.DASH])
    heads = ["plain sum" if unit == "sum" else f"per {unit}" for unit in units]
    return with_intervals(["", *heads, "baseline", "calibration error"], rows)


def examples(asked: Mapping[str, Any], kind: str) -> str:
    """Return how many worked examples stand before a question in a format, in words."""
    count = form.at(asked, f"shots.{kind}")
    return (
        f"after {count} worked example{'s' * (count > 1)}" if count else "without worked examples"
    )


def kinds(results: Results, measure: str) -> Table:
    """One metric of the judged answers by kind of instruction, for every model."""
    by_model = {m: results.metrics[f"judge@{m}"] for m in results.variants["judge"]}
    names = list(dict.fromkeys(k for m in by_model.values() for k in m.get("by_kind", {})))
    rows: list[list[Cell]] = []
    for name in names:
        each = [metrics.get("by_kind", {}).get(name, {}) for metrics in by_model.values()]
        figures = [(found.get(measure), MEASURES[measure]) for found in each]
        rows.append([words(name), number(each[-1].get("n"), "count"), *figures])
    return with_intervals(["kind", "answers", *(model_name(model) for model in by_model)], rows)


def agreement(results: Results) -> Table:
    """Agreement of the judge with the other raters of each model's answers, and its rank
    correlation with the length of the answers.
    """
    rows: list[list[Cell]] = []
    for model in results.variants["judge"]:
        found = results.metrics[f"judge@{model}"].get("agreement", {})
        for key, name in RATERS.items():
            measures = [found.get(key, {}).get(m) for m in ("kappa", "spearman", "kendall")]
            if any(measures):
                n = form.trials(next(filter(None, measures)))
                cells: list[Cell] = [(each, "plain") for each in measures]
                rows.append([f"{model_name(model)}: {name}", n, *cells])
        for key, figure in found.get("length", {}).items():
            name = f"{model_name(model)}: length of {LENGTHS[key]}"
            rows.append([name, form.trials(figure), form.DASH, (figure, "plain"), form.DASH])
    return with_intervals(
        ("judge compared with", "answers", "kappa", "Spearman", "Kendall’s tau-b"), rows
    )


def alphas(results: Results) -> Table:
    """Krippendorff's alpha of the judge, the rules, exact match and ROUGE-L together."""
    levels = {"nominal": "right or not", "ordinal": "order of scores", "interval": "scores"}
    rows: list[list[Cell]] = []
    for model in results.variants["judge"]:
        found = results.metrics[f"judge@{model}"].get("agreement", {}).get("alpha", {})
        if found:
            n = form.trials(next(iter(found.values())))
            rows.append([model_name(model), n, *((found.get(each), "plain") for each in levels)])
    head = [f"{words}, {level}" for level, words in levels.items()]
    return with_intervals(("answers of", "n", *head), rows)


def judges(results: Results) -> Table:
    """Metrics of each of several judges, by seed, then their means; empty for a single judge."""
    grader = results.metrics["grader"]
    models = [
        m for m in results.variants["judge"] if "auc_by_seed" in results.metrics[f"judge@{m}"]
    ]
    each = [(f"seed {seed}", seed, found) for seed, found in grader.get("by_seed", {}).items()]
    rows: list[list[Cell]] = []
    for name, seed, found in [*each, ("mean", None, grader)] if each else []:
        shares = [found.get("above_another"), found.get("paraphrases_right")]
        given = [found.get("gives", {}).get(probe) for probe in ("empty", "constant")]
        for model in models:
            metrics = results.metrics[f"judge@{model}"]
            shares.append(metrics["auc_by_seed"].get(seed) if seed else metrics["auc"])
        rows.append([name, *((x, "share") for x in shares), *((x, "points") for x in given)])
    above = [f"right answers of the {model_name(model)} ranked above others" for model in models]
    head = (
        "references ranked above another task’s",
        "paraphrases ranked above wrong answers",
        *above,
    )
    return with_intervals(("", *head, "score of an empty answer", "score of “It is true.”"), rows)


def overlaps(found: Mapping[str, Any]) -> Table:
    """Test items that occur in the training text, by kind, with their answers and the control."""
    shares = ("overlapping", "above_threshold", "right_answer", "wrong_answer")
    rows: list[list[Cell]] = [
        [
            words(kind),
            *(number(figures.get(name), "count") for name in ("items", "whole", "longest")),
            *((_of_some(figures.get(name)), "share") for name in shares),
        ]
        for kind, figures in found.get("kinds", {}).items()
    ]
    above = f"overlap above {number(found.get('threshold'), 'share')}"
    answers = ("overlap with the right answer", "overlap with a wrong answer")
    head = ("", "items", "items of one run", "longest run, words", "overlap", above, *answers)
    return with_intervals(head, rows)


def with_and_without(found: Mapping[str, Any]) -> Table:
    """Accuracy with and without the items that overlap, if any do."""
    chosen = ("all", "overlapping", "without", "below_threshold")
    rows: list[list[Cell]] = [
        [
            words(kind),
            f"{system_name(model) if kind == 'messages' else model_name(model)}, {words(measure)}",
            number(shares["overlapping"]["n"], "count"),
            *((_of_some(shares[name]), "share") for name in chosen),
        ]
        for kind, models in found.get("scores", {}).items()
        for model, measures in models.items()
        for measure, shares in measures.items()
        if shares["overlapping"]["n"]
    ]
    below = f"overlap not above {number(found.get('threshold'), 'share')}"
    head = ("", "model, metric", "overlapping", "all items", "overlapping items", "other items")
    return with_intervals((*head, below), rows, left=2)


def _of_some(share: Any) -> Any:
    """Return a share, or None if it has no observations."""
    return share if share and share["n"] else None
