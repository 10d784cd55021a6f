"""`python -m llmill results`: the headline metrics of the last run, and where to look next."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmill.comparison import workspace
from llmill.comparison.differences import SOURCE, edited_since
from llmill.comparison.stage_runs import read_lock
from llmill.contract import ownership, pipeline, printable, record, yaml_file
from llmill.contract.errors import UserError
from llmill.report import form
from llmill.runner import params

FILE = "summary.json"
PAGE = "index.html"
COMMANDS = {
    "llmill runs": "all runs with their curves, samples and predictions",
    "dvc metrics show": "all metrics; `dvc metrics diff` compares them with another commit",
    "llmill verify": "the hashes of the chain, with git commits and MLflow runs",
}


def print_table(console: Console | None = None) -> None:
    """Print what stage `report` gathered. Raises `UserError` if it has not run."""
    folder = pipeline.folder(params.stages(params.load()), "report")
    if not (folder / FILE).exists():
        raise UserError(
            f"{folder / FILE}: missing; `dvc pull` fetches it, `dvc repro report` makes it"
        )
    rows = record.read_json(folder / FILE)
    if not rows:
        raise UserError(
            f"{folder / FILE}: has no metrics; run `dvc repro report` to write it again"
        )
    console = console or Console()
    table = Table("", title="Results", title_justify="left")
    # They have their own column if they differ: a narrow terminal has no room to spare.
    differ = len({form.covers(row["figure"]) for row in rows} - {form.DASH}) > 1
    for head in ("value", "interval", *(["covers"] if differ else []), "n"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("baseline")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    for group, members in groups.items():
        table.add_section()
        table.add_row(f"[bold]{_shown(group)}[/bold]")
        for row in members:
            figure, unit = row["figure"], row["unit"]
            cells = [form.number(figure, unit), form.interval(figure, unit)]
            cells += [form.covers(figure)] if differ else []
            cells += [form.trials(figure), _shown(row["against"])]
            table.add_row(f"  {_shown(row['name'])}", *cells)
    console.print(table)
    if not differ and (over := form.over(row["figure"] for row in rows)):
        console.print(f"Intervals are {over}.")
    console.print("Where to look next:")
    for what, why in {str(folder / PAGE): "the report, one page", **COMMANDS}.items():
        console.print(f"  {what:<26} {why}", highlight=False)
    _say_what_was_edited()


def _say_what_was_edited() -> None:
    """Print one line on stderr if parameters or data were edited after the stages ran, because the
    metrics are not theirs.
    """
    if not ownership.LOCK.exists():
        return
    lock = read_lock(yaml_file.load(ownership.LOCK, ""))
    edited = [str(params.FILE)] if edited_since(lock, yaml_file.load(params.FILE, "")) else []
    edited += workspace.edited(lock, among=_is_newer_data)
    if edited:
        were = "was" if len(edited) == 1 else "were"
        line = f"{', '.join(edited)} {were} edited after these results; `llmill plan` shows what"
        print(printable.line(f"llmill: {line} would run"), file=sys.stderr)


def _is_newer_data(path: str) -> bool:
    """Return whether a file of data, or something in a folder of data, came or changed after the
    results. What did not need not be read to know that it is the same.
    """
    place, results = Path(path), ownership.LOCK.stat().st_mtime
    if path.startswith(SOURCE) or not place.exists():
        return False
    # Not the time of its content, which a file keeps if it is moved.
    return any(each.stat().st_ctime > results for each in (place, *place.rglob("*")))


def _shown(text: str) -> str:
    """Escape control characters and rich's markup in a name, because names come from the data."""
    return escape(printable.line(text))
