"""The tables of how far the judge agrees with other raters of the same answers."""

from llmill.report import form
from llmill.report.about import model_name
from llmill.report.files import Results
from llmill.report.tables import Cell, Table, with_intervals

RATERS = {"rules": "the rules", "exact_match": "exact match", "rouge_l": "ROUGE-L"}
LENGTHS = {"right": "right answers", "others": "other answers"}


def pairs(results: Results) -> Table:
    """How far the judge agrees with the other raters of each model's answers, all four together,
    and the length of the answers.
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
        ("the judge and", "answers", "kappa", "Spearman", "Kendall’s tau-b"), rows
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
    return with_intervals(("answers of", "answers", *head), rows)
