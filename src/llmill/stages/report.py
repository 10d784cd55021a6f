"""Write a report of all results on one page.

    python -m llmill report

Input: records, metrics, curves, samples and scores of every stage. Output: `index.html`,
`figures/`, `summary.json`, `metrics.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.values import Section
from llmill.evaluation.judging.judges import scores_by_seed
from llmill.evaluation.statistics import intervals
from llmill.report import figures, files, keeping, page, preferences, style, summary
from llmill.report.files import Results
from llmill.report.page import Image, Setting
from llmill.stages.settings.report import Report

if TYPE_CHECKING:
    from llmill.contract.job import Job

MEASURED_BY = {  # the stage whose metrics a figure shows
    "classification": "accuracy",
    "by_parameters": "accuracy",
    "confusion": "accuracy",
    "mmlu_levels": "mmlu",
    "mmlu_subjects": "mmlu",
    "task_and_knowledge": "knowledge",
    "preferences": "prefer",
    "judge": "judge",
    "grader": "grader",
}
Plots = dict[str, tuple[Any, ...]]  # (function, *data) by name


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    report: Report


def run(params: Parameters, job: Job) -> None:
    """Read the results of the stages, draw the figures, write the page."""
    results = files.read({stage.address: stage for stage in job.parents}, job.inputs)
    gained = gains(results)
    # The page, the files and the tracker use the same rows, so their numbers cannot differ.
    rows = summary.rows(results, gained)
    images = draw(results, job)
    setting = Setting(params.report.title, params.report.examples, params.model_dump(mode="json"))
    html = page.render(results, rows, gained, images, setting)
    record.write_bytes(job.out / "index.html", html.encode())
    record.write_json(job.out / "summary.json", summary.plain(rows))
    record.write_json(job.out / "metrics.json", summary.flat(rows))
    job.track.metrics(summary.flat(rows))
    job.track.text("index.html", html)
    job.say(f"{len(images)} figures on {job.stage.out}/index.html")


def gains(results: Results) -> dict[str, intervals.Interval]:
    """Return, by model, its mean score minus the first model's, paired by instruction."""
    if not results.variants["judge"]:
        return {}
    first, *others = results.variants["judge"]
    settings = results.records[f"judge@{first}"]["parameters"]["judge"]
    differences = {}
    for model in others:
        pairs = zip(results.scores[first], results.scores[model], strict=True)
        scored = [pair for pair in pairs if None not in (pair[0]["score"], pair[1]["score"])]
        if scored:
            before, after = (scores_by_seed(rows, "score") for rows in zip(*scored, strict=True))
            less = [[b - a for a, b in zip(before[s], after[s], strict=True)] for s in before]
            differences[model] = gain(less, settings)
    return differences


def gain(less: Sequence[Sequence[float]], settings: Mapping[str, Any]) -> intervals.Interval:
    """Return the mean score difference (R, N) of R judges; if R > 1, the interval covers seeds."""
    if len(less) == 1:
        return intervals.mean(
            less[0],
            confidence=settings["confidence"],
            resamples=settings["bootstrap"],
            seed=settings["seed"],
        )
    found = intervals.mean_over_runs(
        [[100 + x for x in run] for run in less], 200, settings["confidence"]
    )
    found["value"] -= 100
    found["low"] -= 100
    found["high"] -= 100
    return found


def draw(results: Results, job: Job) -> dict[str, Image]:
    """Draw every figure in both themes; save the light one to a file and to the tracker."""
    alts = page.alt_texts(results)
    (job.out / "figures").mkdir()
    images = {}
    for name, (function, *data) in plots(results).items():
        light, dark = (style.draw(function, theme, *data) for theme in (style.LIGHT, style.DARK))
        images[name] = Image(style.png(light), style.png(dark), alts[name])
        file = job.out / "figures" / f"{name}.png"
        record.write_bytes(file, images[name].light)
        job.track.picture(file)
    return images


def plots(results: Results) -> Plots:
    """Return the drawing function and the data of each figure."""
    metrics = results.metrics
    accuracy = metrics["accuracy"]
    best, labels = accuracy.get("best"), accuracy.get("labels", [])
    counts = accuracy.get("variants", {}).get(best, {}).get("confusion", [])
    mmlu = {model: metrics[f"mmlu@{model}"] for model in results.variants["mmlu"]}
    chance = next((each.get("chance") for each in mmlu.values()), None)
    judged = {model: metrics[f"judge@{model}"] for model in results.variants["judge"]}
    drawn: Plots = {
        "loss": (figures.loss, results.curves),
        "classification": (figures.classification, summary.systems(accuracy)),
        "by_parameters": (figures.by_parameters, accuracy.get("variants", {})),
        "confusion": (figures.confusion, counts, labels, best or ""),
        "mmlu_levels": (figures.questions, shares(mmlu, "levels"), chance, "level"),
        "mmlu_subjects": (figures.questions, shares(mmlu, "subjects"), chance, "subject"),
        "task_and_knowledge": (
            figures.task_and_knowledge,
            keeping.points(results),
            keeping.chance(results),
        ),
        "preferences": (figures.preferences, preferences.curve(results)),
        "judge": (figures.judge, judged),
        "grader": (figures.grader, results.heldout),
    }
    # Every figure is an output, so one whose stage was skipped is drawn empty, with the reason.
    reasons = {name: results.skipped(stage) for name, stage in MEASURED_BY.items()}
    return drawn | {name: (figures.nothing, why) for name, why in reasons.items() if why}


def shares(metrics: dict[str, Any], groups: str) -> dict[str, Any]:
    """Return the accuracies by format, model and group, with `all` first."""
    return {
        kind: {
            model: {
                "all": by_format.get(kind, {}).get("all"),
                **by_format.get(kind, {}).get(groups, {}),
            }
            for model, by_format in metrics.items()
        }
        for kind in summary.FORMATS
    }
