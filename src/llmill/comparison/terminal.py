"""The comparison as tables in a terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmill.comparison import cells
from llmill.comparison.chain import Comparison
from llmill.contract import printable

MOST = 12  # changes of a kind that are shown
MOST_OPEN = 3  # lines on stages with several changes that no run separates
NAME_WIDTH = 24  # of a metric's name, at least
WIDE = 116  # of a terminal with room for every number on one line
CHANGE_HEAD = ("kind", "name", "before", "after", "stages")
STAGE_HEAD = ("stage", "changed", "reads changed outputs of", "output")


def show(comparison: Comparison, console: Console, everything: bool) -> None:
    """Print the whole comparison; `everything`: also the metrics that no report opens with."""
    for name, title, subject in zip(
        ("before", "after"), comparison.titles, comparison.subjects, strict=True
    ):
        _say(console, f"{name:<7} {title}  {subject}")
    for note in comparison.notes:
        _say(console, note)
    if comparison.is_empty:
        _say(
            console,
            f"Nothing differs in the results: the parameters, code, packages and data that made "
            f"them and all outputs of {comparison.n_stages} stages are the same in dvc.lock."
            if comparison.n_stages
            else "Nothing differs: parameters, inputs and metrics are the same.",
        )
        return
    kinds = cells.by_kind(comparison.differences)
    most = None if everything else MOST
    shown = [(kind, *row) for kind, rows in kinds.items() for row in rows[:most]]
    _table(console, "What changed", CHANGE_HEAD, shown)
    if len(comparison.differences) > len(shown):
        _say(
            console, f"{len(comparison.differences) - len(shown)} more changes: use --all or --page"
        )
    _table(console, "Stages that differ", STAGE_HEAD, cells.stages(comparison))
    if comparison.n_stages:
        _say(
            console,
            f"{comparison.n_stages - len(comparison.stages)} of {comparison.n_stages} stages "
            "did not change.",
        )
    _figures(comparison, console)
    _others(comparison, console, everything)
    if comparison.reasons:
        console.print(Text("Which change moved them", style="italic"))
    unclear = [] if everything else [r for r in comparison.reasons if r.is_open][MOST_OPEN:]
    for reason in comparison.reasons:
        if reason in unclear:
            continue
        _say(console, f"{', '.join(reason.addresses)}: {reason.said}.")
        if reason.figures:
            console.print(_grouped(console, "", cells.steps(reason)))
    if unclear:
        n = sum(len(reason.addresses) for reason in unclear)
        _say(
            console,
            f"{n} more {'stage has' if n == 1 else 'stages have'} several changes upstream that "
            "no run separates: use --all or --page",
        )


def _figures(comparison: Comparison, console: Console) -> None:
    if comparison.headlines:
        table = _grouped(console, "Headline metrics that moved", cells.headlines(comparison))
        table.caption, table.caption_justify = cells.caption(comparison), "left"
        console.print(table)
    if comparison.headlines or comparison.still:
        _say(console, f"{comparison.still} headline metrics did not move.")
    if comparison.alone:
        _say(console, f"{comparison.alone} headline metrics exist on one side only.")


def _others(comparison: Comparison, console: Console, everything: bool) -> None:
    count = sum(map(len, comparison.others.values()))
    if everything:
        for address, rows in comparison.others.items():
            _table(
                console,
                f"{address}: all metrics that moved",
                cells.FIGURE_HEAD[:4],
                cells.others(rows),
                words=1,
            )
    elif count:
        _say(console, f"In all, {count} metrics of {', '.join(comparison.others)} moved: use --all")


def _table(
    console: Console,
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int = 99,
) -> None:
    if rows:
        table = _empty(console, title, head, words)
        for row in rows:
            table.add_row(*_texts(row[:words]), *_texts(row[words:], stacked=True))
        console.print(table)


def _grouped(console: Console, title: str, groups: Mapping[str, Sequence[cells.Cells]]) -> Table:
    """Return a table of metrics below the names of their groups."""
    table = _empty(console, title, cells.FIGURE_HEAD, words=1)
    for group, rows in groups.items():
        table.add_section()
        table.add_row(Text(printable.line(group), style="bold"))
        for name, *rest in rows:
            table.add_row(Text(f"  {printable.line(name)}"), *_texts(rest, stacked=True))
    return table


def _empty(console: Console, title: str, head: Sequence[str], words: int) -> Table:
    """Return an empty table. Words may wrap; numbers only if the terminal is too narrow for all of
    them, or they would leave no room for the words.
    """
    table, wide = Table(title=title or None, title_justify="left"), console.width >= WIDE
    for number, name in enumerate(head):
        words_here = number < words
        table.add_column(
            name,
            justify="left" if words_here else "right",
            no_wrap=not words_here and wide,
            overflow="fold",
            min_width=NAME_WIDTH if number == 0 and words == 1 and wide else None,
        )
    return table


def _texts(row: Iterable[str], stacked: bool = False) -> list[Text]:
    """Return cells without control characters or rich's markup, because names come from the data.
    `stacked`: put intervals below their values, which takes half the width.
    """
    shown = [printable.line(cell) for cell in row]
    return [Text(cell.replace(" (", "\n(") if stacked else cell) for cell in shown]


def _say(console: Console, text: str) -> None:
    console.print(Text(printable.line(text)), soft_wrap=True)
