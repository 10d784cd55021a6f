"""`llmill rank FILE`: rate the players of any table of outcomes in pairs."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmill.contract import elsewhere, printable
from llmill.contract.errors import UserError
from llmill.evaluation.statistics import ranking
from llmill.evaluation.statistics.intervals import CONFIDENCE, RESAMPLES
from llmill.evaluation.statistics.ranking import Outcome
from llmill.report.form import DASH
from llmill.tasks import tables

SEED = 1
FIRST, SECOND = ("model_a", "a", "first", "1"), ("model_b", "b", "second", "2")
TIE = ("tie", "tie (bothbad)", "both", "bothbad", "draw", "0.5")


def print_ranking(
    file: Path, columns: list[str], console: Console | None = None, together: Sequence[str] = ()
) -> None:
    """Print the ratings of the players of a table. Raises `UserError` for a table without outcomes.
    Outcomes with equal values in the columns `together` are drawn together for the intervals.
    """
    drawn = f"values of {' and '.join(together)}" if together else "outcomes"
    print_ratings(read(file, columns, together), console or Console(), drawn)


def print_ratings(outcomes: list[Outcome], console: Console, drawn: str) -> None:
    """Print every player's rating with its interval, the plain Elo rating beside it, and what was
    resampled. Players that cannot be rated are named and left out.
    """
    everyone = ranking.groups(ranking.count(outcomes), strong=False)
    if len(everyone) > 1:
        console.print(f"{len(everyone)} groups never met; do not compare ratings across groups.")
    plain = ranking.elo(outcomes)
    for group in everyone:
        among = [each for each in outcomes if each.first in group]
        strong = ranking.groups(ranking.count(among), strong=True)
        rated = ranking.rateable(among)
        for part in rated:
            own = [each for each in among if {each.first, each.second} <= {*part}]
            console.print(ratings(own, plain, drawn))
        alone = sorted({*group} - {name for part in rated for name in part})
        if len(strong) > 1:
            if all(each.score == 0.5 for each in among):
                why = "All outcomes are ties, so no rating differs from another: "
            else:
                why = "Between these groups wins go one way, so no finite rating fits them: "
            console.print(
                printable.line(
                    why
                    + "; ".join(", ".join(part) for part in strong)
                    + (f". Not rated: {', '.join(alone)}." if alone else ".")
                ),
                soft_wrap=True,
                markup=False,
            )


def ratings(outcomes: list[Outcome], plain: dict[str, float], drawn: str) -> Table:
    """Return a table of the players of one strong group, the best first."""
    counts = ranking.count(outcomes)
    found, _ = ranking.strengths(counts)
    low, high, left_out = ranking.intervals(counts, RESAMPLES, CONFIDENCE, SEED)
    tally = {name: Counter[float]() for name in counts.players}
    for each in outcomes:
        tally[each.first][each.score] += 1
        tally[each.second][1.0 - each.score] += 1
    table = Table("", title=f"{len(outcomes):,} outcomes", title_justify="left")
    for head in (
        "rating",
        f"{CONFIDENCE:.0%} over {printable.line(drawn)}",
        "won",
        "tied",
        "lost",
        "plain Elo",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for n in sorted(range(len(found)), key=lambda n: -found[n]):
        name = counts.players[n]
        rating, *ends = ranking.rating([found[n], low[n], high[n]])
        won = [str(tally[name][score]) for score in (1.0, 0.5, 0.0)]
        interval = DASH if math.isnan(ends[0]) else f"{ends[0]:.0f} to {ends[1]:.0f}"
        table.add_row(
            Text(printable.line(name)), f"{rating:.0f}", interval, *won, f"{plain[name]:.0f}"
        )
    table.caption = (
        "Bradley and Terry's model, Davidson's ties, on Elo's scale, mean 1000; intervals over "
        f"{printable.line(drawn)} drawn anew"
    )
    if left_out:
        table.caption += f"; {left_out} of {RESAMPLES} resamples had no finite rating"
    return table


def wins(outcomes: list[Outcome]) -> Table:
    """Return how often the first of each two players won, tied and lost against the second, in the
    order in which they met.
    """
    tally: dict[tuple[str, str], Counter[float]] = {}
    for each in outcomes:
        if (each.second, each.first) in tally:
            tally[each.second, each.first][1.0 - each.score] += 1
        else:
            tally.setdefault((each.first, each.second), Counter())[each.score] += 1
    table = Table("", "against", title="Pairs", title_justify="left")
    for head in ("won", "tied", "lost"):
        table.add_column(head, justify="right", no_wrap=True)
    for (one, other), met in tally.items():
        names = (Text(printable.line(name)) for name in (one, other))
        table.add_row(*names, *(f"{met[score]:,}" for score in (1.0, 0.5, 0.0)))
    return table


def read(file: Path, columns: list[str], together: Sequence[str] = ()) -> list[Outcome]:
    """Return the outcomes in the order of the rows: two names, who won, and in further columns what
    they are about.
    """
    elsewhere.refuse_other_than_files(file)
    frame = tables.read(file, [*columns, *together])
    outcomes = []
    for number, row in enumerate(frame.itertuples(index=False), 1):
        first, second, winner, *about = ((cell or "").strip() for cell in row)
        if not first or not second:
            raise UserError(f"{file}, row {number}: no name of a player")
        if first == second:
            raise UserError(f"{file}, row {number}: '{first}' against itself")
        got = score(winner, first, second, f"{file}, row {number}")
        outcomes.append(Outcome(first, second, got, "\n".join(about) if together else None))
    if not outcomes:
        raise UserError(f"{file}: no row of outcomes")
    return outcomes


def score(winner: str, first: str, second: str, where: str) -> float:
    """Return what the first player got: by the winner's name, by its column, or a tie."""
    said = winner.casefold()
    if winner in (first, second):  # a player may be called `tie`, or `a`
        return float(winner == first)
    for words, got in ((FIRST, 1.0), (SECOND, 0.0), (TIE, 0.5)):
        if said in words:
            return got
    raise UserError(
        f"{where}: the winner '{winner}' is neither '{first}' nor '{second}', model_a or model_b, "
        "nor tie"
    )
