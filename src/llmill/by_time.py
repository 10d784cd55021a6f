"""`python -m llmill results --by-time FILE`: how well and how fast each classifier was trained.

Times differ between two identical runs. They are therefore not part of a result, and the report,
which is a result, has none.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from llmill.contract import destination, pipeline, record, skipped
from llmill.contract.errors import UserError
from llmill.report import figures, form, style
from llmill.report.summary import system_name
from llmill.runner import cost, params


def print_by_time(file: Path, console: Console | None = None) -> None:
    """Print the accuracy of each classifier beside the cost of the run here that made it, and draw
    it as PNG. Raises `UserError` if nothing was measured, or nothing was timed.
    """
    destination.check(file)
    tree = params.load()
    stages, root = params.stages(tree), Path(tree.paths.results)
    folder = pipeline.folder(stages, "accuracy")
    if why := skipped.reason(folder):
        raise UserError(f"accuracy: the stage was skipped: {why}")
    measured = record.read_json(folder / "metrics.json")
    variants = measured.get("variants", {})
    last_runs = {name: cost.read(stages[f"classify@{name}"].cost(root)) for name in variants}
    results = {name: Path(stages[f"classify@{name}"].out, record.NAME) for name in variants}
    took = {
        name: last if _made_it(last, results[name]) else None for name, last in last_runs.items()
    }
    seconds = {name: last.seconds for name, last in took.items() if last}
    if not seconds:
        raise UserError(
            f"{root / 'benchmarks'}: no classifier has timings of the result that is here; a stage "
            "is timed when it runs, not when DVC restores its result"
        )
    table = Table("", title="Classifiers", title_justify="left")
    for head in ("accuracy", "interval", "covers", "trained parameters", "seconds", "MiB"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, values in variants.items():
        accuracy, last = values.get("accuracy"), took[name]
        table.add_row(
            system_name(name),
            form.number(accuracy, "share"),
            form.interval(accuracy, "share"),
            form.covers(accuracy),
            form.number(values.get("trainable_parameters"), "count"),
            *([f"{last.seconds:,.0f}", f"{last.memory:,.0f}"] if last else [form.DASH] * 2),
        )
    console = console or Console()
    console.print(table)
    others = [system_name(name) for name, last in last_runs.items() if last and not took[name]]
    if others:
        console.print(
            f"not known to be timed for the result that is here: {', '.join(others)}", markup=False
        )
    figure = style.draw(figures.by_seconds, style.LIGHT, seconds, variants)
    record.write_bytes(file, style.png(figure))


def _made_it(last: cost.Cost | None, result: Path) -> bool:
    """Return whether the run with this cost made the result with this record."""
    return last is not None and result.is_file() and last.record == record.sha256_file(result)
