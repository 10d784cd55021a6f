"""The tables of the page: the stages' metrics as text in cells, with a dash for a missing one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from llmill.contract.skipped import KEY as SKIPPED
from llmill.report import form, summary
from llmill.report.files import Results
from llmill.report.form import number, words
from llmill.report.summary import Row, system_name

LOSS_HEAD = ("source", "held-out tokens", "loss before", "loss after", "change")
MAIN_PACKAGES = (
    "torch",
    "numpy",
    "tokenizers",
    "tiktoken",
    "datasketch",
    "scikit-learn",
    "scipy",
    "pyarrow",
    "matplotlib",
    "snakemake",
    "dvc",
    "mlflow",
)


@dataclass(frozen=True)
class Table:
    """Cells as text. The first `left` columns are words, the others numbers. `over` is what all
    intervals cover.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    over: str = ""


Cell = str | tuple[Any, str]  # text, or (metric, unit)


def with_intervals(head: Sequence[str], rows: Iterable[Sequence[Cell]], left: int = 1) -> Table:
    """Make a table of metrics with intervals. A note below states what they cover, or a last column
    if they do not all cover the same.
    """
    cells = [list(row) for row in rows]
    over = [form.over(cell[0] for cell in row if not isinstance(cell, str)) for row in cells]
    shown = [[c if isinstance(c, str) else form.with_interval(*c) for c in row] for row in cells]
    if len(set(filter(None, over))) < 2:
        return Table(head, shown, left, over=max(over, default=""))
    named = [[*row, said or form.DASH] for row, said in zip(shown, over, strict=True)]
    return Table([*head, "intervals"], named, left)


def headlines(rows: Iterable[Row]) -> dict[str, list[tuple[str, ...]]]:
    """Return the headline metrics by group, each as (name, value, interval, what it covers, number
    of observations, what to compare with).
    """
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        value, interval = number(row.figure, row.unit), form.interval(row.figure, row.unit)
        covers, n = form.covers(row.figure), form.trials(row.figure)
        # The text breaks between words, but not inside an interval.
        against = re.sub(
            r"\([^)]+\)", lambda part: part[0].replace(" ", form.NO_BREAK), row.against
        )
        line = (row.name, value, interval, covers, n, against)
        groups.setdefault(row.group, []).append(line)
    return groups


def sources(results: Results) -> Table:
    """The sources, with a row for each role and source."""
    rows = []
    for role, entries in results.sources.items():
        for entry in entries:
            files = entry.get("files", [])
            total = form.size(sum(file.get("bytes") or 0 for file in files))
            title, licence = entry.get("title", form.DASH), entry.get("licence", form.DASH)
            rows.append((role, title, licence, f"{len(files):,}", total))
    return Table(("role", "source", "licence", "files", "size"), rows, left=3)


def files(entries: Iterable[Mapping[str, Any]]) -> Table:
    """All files of a role with their hashes."""
    rows = [
        (file.get("path", form.DASH), file.get("sha256") or form.DASH, form.size(file.get("bytes")))
        for entry in entries
        for file in entry.get("files", [])
    ]
    return Table(("file", "sha256", "size"), rows, left=2)


def documents(prepared: Mapping[str, Any]) -> Table:
    """Documents read, removed for each reason, and kept, by source."""
    by_source = prepared.get("text", {}).get("sources", {})
    columns = list(dict.fromkeys(name for figures in by_source.values() for name in figures))
    rows = [[source, *(_counted(f, name) for name in columns)] for source, f in by_source.items()]
    return Table(["source", *map(words, columns)], rows)


def labelled(prepared: Mapping[str, Any]) -> Table:
    """Rows of the labelled data: in the files, left out, and in each split."""
    rows = []
    for name in ("classification", "instruction", "preference"):
        counts = prepared.get(name, {})
        if SKIPPED in counts:
            rows.append((name, "none", counts[SKIPPED], *[form.DASH] * 3))
            continue
        splits = [
            number(counts.get(s, {}).get("rows"), "count") for s in ("train", "validate", "test")
        ]
        rows.append((name, number(counts.get("rows"), "count"), _left_out(counts), *splits))
    counts = prepared.get("mmlu", {})
    if SKIPPED in counts:
        counts = {}
    splits = [number(counts.get(split), "count") for split in ("dev", "val", "test")]
    in_splits = sum(counts.get(split, 0) for split in ("dev", "val", "test")) if counts else None
    total = number(counts.get("rows", in_splits), "count")
    rows.append(("questions (dev, val, test)", total, _left_out(counts), *splits))
    return Table(("data", "rows in the files", "removed", "train", "validate", "test"), rows)


def _left_out(counts: Mapping[str, Any]) -> str:
    reasons = (
        "duplicates",
        "in_further_tests",
        "without_text",
        "without_label",
        "without_response",
        "undecided",
        "ambiguous",
    )
    out = [
        f"{counts[key]:,} {'duplicate' if (key, counts[key]) == ('duplicates', 1) else words(key)}"
        for key in reasons
        if counts.get(key)
    ]
    return "; ".join(out) or "none"


def contradictions(texts: Iterable[Mapping[str, Any]]) -> Table:
    """Texts that came with several labels, how often with each, and the label that was kept."""
    rows = [
        (
            text["text"],
            ", ".join(f"{label} {count:,}" for label, count in text["labels"].items()),
            text["label"],
        )
        for text in texts
    ]
    return Table(("text", "labels", "kept label"), rows, left=3)


def labels(prepared: Mapping[str, Any]) -> Table:
    """The count of each label or kind in each split."""
    rows = []
    for name in ("classification", "instruction"):
        splits = prepared.get(name, {})
        by = [splits.get(split, {}).get("by_label", {}) for split in ("train", "validate", "test")]
        for label in dict.fromkeys(x for counts in by for x in counts):
            rows.append((name, words(label), *(_counted(counts, label) for counts in by)))
    return Table(("data", "label or kind", "train", "validate", "test"), rows, left=2)


def tokens(tokenized: Mapping[str, Any]) -> Table:
    """Tokens and documents of each split."""
    rows = [
        (
            split,
            *(_counted(figures, name) for name in ("tokens", "documents", "shards")),
            form.size(figures.get("text_bytes")),
            number(figures.get("bytes_per_token"), "plain"),
        )
        for split, figures in tokenized.items()
        if isinstance(figures, Mapping)
    ]
    return Table(("split", "tokens", "documents", "shards", "text", "bytes per token"), rows)


def trainings(results: Results) -> Table:
    """The final metrics of every training."""
    rows = []
    for address in results.curves:
        metrics, last = results.metrics[address], (results.curves[address] or [{}])[-1]
        steps = number(metrics.get("steps", last.get("step")), "count")
        losses = (last.get("train_loss"), metrics.get("validation_loss"))
        accuracy = number(metrics.get("validation_accuracy"), "share")
        rows.append((address, steps, *(number(x, "nats") for x in losses), accuracy))
    head = ("stage", "steps", "last training loss", "validation loss", "validation accuracy")
    return Table(head, rows)


def continued(pretrained: Mapping[str, Any]) -> Table:
    """Validation loss by source, before and after a training that began from weights."""
    return Table(LOSS_HEAD, losses_by_source(pretrained.get("by_source", {})))


def losses_by_source(losses: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the loss on held-out text of each source, before and after a training."""
    return [
        (
            source,
            number(found["tokens"], "count"),
            *(number(found[when], "nats") for when in ("before", "after")),
            f"{found['after'] - found['before']:+.3f}",
        )
        for source, found in losses.items()
    ]


def classifiers(accuracy: Mapping[str, Any]) -> Table:
    """All metrics of every classifier and baseline."""
    measures = ("accuracy", "precision", "recall", "f1", "macro_f1")
    rows: list[list[Cell]] = [
        [system_name(name), *((values.get(m), "share") for m in measures)]
        for name, values in summary.systems(dict(accuracy)).items()
    ]
    positive = accuracy.get("positive", form.DASH)
    headings = (f"precision ({positive})", f"recall ({positive})", f"F1 ({positive})", "macro F1")
    return with_intervals(("", "accuracy", *headings), rows)


def further_tests(accuracy: Mapping[str, Any]) -> Table:
    """Accuracy of every classifier and baseline on the further tests, one column per test."""
    tests = accuracy.get("tests", {})
    rows: list[list[Cell]] = [
        [
            system_name(name),
            *((test["systems"].get(name, {}).get("accuracy"), "share") for test in tests.values()),
        ]
        for name in summary.systems(dict(accuracy))
    ]
    head = [f"{words(name)}, {test['messages']:,} messages" for name, test in tests.items()]
    return with_intervals(("", *head), rows if tests else ())


def variants(accuracy: Mapping[str, Any]) -> Table:
    """Trained parameters, calibration, and accuracy by seed of each variant."""
    rows: list[list[Cell]] = []
    for name, values in accuracy.get("variants", {}).items():
        calibration = values.get("calibration", {})
        errors = (calibration.get(key) for key in ("expected_error", "expected_error_scaled"))
        seeds = values.get("by_seed", {}).values()
        rows.append(
            [
                system_name(name),
                number(values.get("trainable_parameters"), "count"),
                (values.get("accuracy"), "share"),
                ", ".join(number(share, "share") for share in seeds) or form.DASH,
                *(number(error, "share") for error in errors),
                number(calibration.get("temperature"), "plain"),
            ]
        )
    head = (
        "trained parameters",
        "accuracy",
        "accuracy by seed",
        "calibration error",
        "scaled error",
        "temperature",
    )
    return with_intervals(("", *head), rows)


def between(accuracy: Mapping[str, Any]) -> Table:
    """Comparisons of every two variants on the same messages."""
    rows: list[list[Cell]] = [
        [
            f"{system_name(pair['first'])} minus {system_name(pair['second'])}",
            (pair["difference"], "gain"),
            number(pair["only_first_right"], "count"),
            number(pair["only_second_right"], "count"),
            form.probability(pair["mcnemar_p"]).removeprefix("= "),
        ]
        for pair in accuracy.get("between", [])
    ]
    head = (
        "points",
        "only the first is right",
        "only the second is right",
        "p (McNemar's exact test)",
    )
    return with_intervals(("", *head), rows)


def learning_curve(accuracy: Mapping[str, Any]) -> Table:
    """Accuracy by number of training messages, for variants that have a learning curve."""
    rows: list[list[Cell]] = [
        [system_name(name), number(int(size), "count"), (share, "share")]
        for name, values in accuracy.get("variants", {}).items()
        for size, share in [*values.get("sizes", {}).items()]
    ]
    return with_intervals(("", "training messages", "accuracy"), rows)


def parameters(sections: Mapping[str, Any]) -> Table:
    """All parameters of a stage under dotted names."""
    return Table(("parameter", "value"), list(_flat(sections, "")), left=2)


def inputs(record: Mapping[str, Any]) -> Table:
    """The inputs of a stage with their hashes."""
    return Table(("input", "sha256"), list(record.get("inputs", {}).items()), left=2)


def main_packages(packages: Sequence[tuple[str, str]]) -> str:
    """Return the packages that affect a result, with versions."""
    versions = {name.lower().replace("_", "-"): version for name, version in packages}
    return (
        ", ".join(f"{name} {versions[name]}" for name in MAIN_PACKAGES if name in versions)
        or form.DASH
    )


def outputs(record: Mapping[str, Any]) -> str:
    """Return the number, size and folders of a stage's output files."""
    entries = record.get("outputs", {})
    total = sum(entry.get("bytes", 0) for entry in entries.values())
    folders = sorted({PurePosixPath(name).parts[0] for name in entries})
    return f"{len(entries):,} files, {form.size(total)}: {', '.join(folders)}"


def _counted(metrics: Mapping[str, Any], name: str) -> str:
    return number(metrics.get(name), "count")


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for key, item in tree.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + key, form.plain(item)
