"""`llmill compare A B`: what differs between two states of the chain, or two MLflow runs, and which
difference moved the metrics.
"""

from pathlib import Path

from rich.console import Console

from llmill.comparison import chain, page, revisions, runs, terminal
from llmill.comparison.cache import open_cache
from llmill.comparison.chain import Comparison
from llmill.contract import record
from llmill.contract.errors import UserError

MOST = 4  # files that the last line names


def print_comparison(
    before: str,
    after: str,
    file: Path | None = None,
    everything: bool = False,
    console: Console | None = None,
) -> None:
    """Print the differences of both sides, and write a page of them if `file` names one.

    Raises `UserError` for what cannot be compared, and, after all else is shown, for results that
    neither DVC's cache nor the work tree holds.
    """
    comparison = compared(before, after)
    terminal.show(comparison, console or Console(), everything)
    if file:
        try:
            record.write_bytes(file, page.render(comparison).encode())
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror}") from None
    if comparison.missing:
        said = "; ".join(f"{_some(paths)} of {side}" for side, paths in comparison.missing.items())
        raise UserError(
            f"not compared because they are not in DVC's cache: {said}. `dvc fetch --all-commits` "
            "fetches the results in a remote, and `dvc exp pull` those of an experiment"
        )


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - MOST} more" if len(paths) > MOST else ""
    return f"{', '.join(paths[:MOST])}{more}"


def compared(before: str, after: str) -> Comparison:
    """Compare two revisions or experiments, or two MLflow runs."""
    old, new = revisions.find(before), revisions.find(after)
    if old and new:
        if old.commit == new.commit:
            raise UserError(f"{old.title} and {new.title} are the same commit, so nothing differs")
        return chain.compare(old, new, open_cache())
    if old or new:
        name, other = (after, old) if old else (before, new)
        run = runs.find(name)
        assert other is not None
        raise UserError(
            f"{other.title} is a revision and {name} is an MLflow run (of commit "
            f"{run.tags.get(runs.COMMIT, 'unknown')}); compare two revisions or two runs"
        )
    return runs.compare(runs.find(before), runs.find(after))
