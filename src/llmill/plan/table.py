"""Print the plan: one line per stage with the cost of its last run, the reasons below it, and the
total.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from llmill.contract import printable, record, source
from llmill.contract.pipeline import Stage
from llmill.plan.dry_run import Forecast, Verdict, foresee
from llmill.runner import cost, params
from llmill.runner.cost import Cost

WIDTH = 100
MOST = 12  # reasons of a stage that are printed
TOTALS: dict[Verdict, str] = {  # in the order printed
    "run": "will run",
    "may run": "may run, if what the stage before makes is new",
    "skip": "will be skipped, because what they need is null or switched off",
    "restore": "will be restored from DVC's cache",
    "leave": "stay as they are",
}


@dataclass(frozen=True)
class Planned:
    """A stage, its forecast, and the cost of its last run."""

    stage: Stage
    forecast: Forecast
    last: Cost | None


def print_plan(as_json: bool) -> None:
    """Print what `dvc repro` would do. Raises `UserError` if it would not begin."""
    source.refuse_other_source()
    tree = params.load()
    stages = params.stages(tree)
    results = Path(tree.paths.results)
    last = {address: cost.read(stage.cost(results)) for address, stage in stages.items()}
    forecasts = foresee(tree, stages)
    plan = [Planned(stages[name], forecast, last[name]) for name, forecast in forecasts.items()]
    print(record.to_json([_as_json(each) for each in plan]) if as_json else table(plan), end="")


def _as_json(each: Planned) -> dict[str, object]:
    return {
        "stage": each.stage.address,
        "verdict": each.forecast.verdict,
        "reasons": each.forecast.reasons,
        "seconds": each.last and each.last.seconds,
        "memory_mib": each.last and each.last.memory,
    }


def table(plan: list[Planned]) -> str:
    """Return the plan for a terminal of 100 columns."""
    wide = max(len(each.stage.address) for each in plan)
    lines = [f"{'stage':{wide}}  {'dvc repro':9}  {'last run took':>14}  {'memory':>10}"]
    for each in plan:
        took = _time(each.last.seconds) if each.last else "-"
        memory = f"{each.last.memory:,.0f} MiB" if each.last else "-"
        lines.append(
            f"{each.stage.address:{wide}}  {each.forecast.verdict:9}  {took:>14}  {memory:>10}"
        )
        lines += _reasons(each.forecast.reasons)
    return "\n".join([*lines, "", *_totals(plan), ""])


def _reasons(reasons: list[str]) -> list[str]:
    more = [f"and {len(reasons) - MOST} more"] if len(reasons) > MOST else []
    return [
        line
        for reason in [*reasons[:MOST], *more]
        for line in textwrap.wrap(
            printable.line(reason),
            WIDTH,
            initial_indent="    ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
    ]


def _totals(plan: list[Planned]) -> list[str]:
    lines = []
    for verdict, what in TOTALS.items():
        of_it = [each for each in plan if each.forecast.verdict == verdict]
        if of_it:
            spent = _spent([each.last for each in of_it]) if "run" in verdict else ""
            lines.append(f"{len(of_it):3} {what}{spent}")
    return lines


def _spent(costs: list[Cost | None]) -> str:
    """Return what the stages took together last time, one after another."""
    measured = [each for each in costs if each]
    if not measured:
        return ": nobody knows yet how long"
    least = (
        f" and {len(costs) - len(measured)} that nobody timed" if len(measured) < len(costs) else ""
    )
    most = max(each.memory for each in measured)
    took = _time(sum(each.seconds for each in measured))
    return f": {took}{least}, at most {most:,.0f} MiB by the last runs"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h", f"{minutes} min", f"{rest} s"]
    return " ".join(parts if hours else parts[1:] if minutes else parts[2:])
