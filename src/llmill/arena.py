"""`llmill arena`: compare the chain's models, and answers from elsewhere, with one another.

Each two players that answered the same test instructions meet on each of them. The better score
wins: a rule's score if one decides, else the judge's, as in stage `judge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmill import rank
from llmill.contract import destination, pipeline, printable, record, runtime, skipped
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.evaluation.judging import arena, judge
from llmill.evaluation.judging.arena import Known, Scores
from llmill.evaluation.judging.judges import mean_scores
from llmill.report import bar
from llmill.report.form import DASH
from llmill.runner import params
from llmill.tasks import answers, instruction, jsonl
from llmill.tasks.answers import Answers, Task

By = Literal["judge", "words"]


@dataclass
class Chain:
    """Contents of the chain: its models' answers, its tasks, and its judge's scores."""

    players: dict[str, Answers] = field(default_factory=dict)
    tasks: dict[Task, Known] = field(default_factory=dict)
    scored: dict[tuple[Task, str], float | None] = field(default_factory=dict)
    judges: set[str] = field(default_factory=set)  # who gave the scores
    short_of: list[str] = field(default_factory=list)  # bars that the judge misses, or unmeasured
    grader: Path | None = None  # its checkpoint


def print_arena(
    paths: Sequence[Path],
    by: By | None,
    margin: float,
    out: Path | None,
    console: Console | None = None,
) -> None:
    """Print players, wins and ratings, and write the outcomes to `out`. Raises `UserError` if no
    two players meet.
    """
    console = console or Console()
    if out is not None:
        destination.check(out)
    settings = params.load()
    chain = of_chain(params.stages(settings))
    players = chain.players | elsewhere(paths, chain.players)
    if len(players) < 2:
        found = f"there is only {', '.join(players)}" if players else "there are none"
        raise UserError(
            f"an arena needs two players, and {found}: run the chain as far as stage "
            "instruct, or name files of answers"
        )
    tasks = dict(chain.tasks)
    for own in players.values():
        for task, reference in own.references.items():
            if reference.strip():
                tasks.setdefault(task, Known((reference,)))
    by_name = {name: own.by_task for name, own in players.items()}
    if by is None:
        by, why = chosen(chain, bool(arena.undecided(by_name, tasks, chain.scored)))
        console.print(printable.line(why), markup=False, soft_wrap=True)
    if by == "words":
        scores = arena.scores(by_name, tasks, {}, arena.by_words)
    else:
        runtime.start(settings.judge.seed, settings.judge.threads)
        scores = arena.scores(by_name, tasks, chain.scored, lambda rows: graded(rows, chain))
    played = arena.games(scores, margin)
    console.print(met(players, scores))
    for line in left_out(players, scores):
        console.print(printable.line(line), markup=False, soft_wrap=True)
    if not played:
        raise UserError(
            f"no two of {', '.join(players)} answered the same instruction; answers are matched by "
            "instruction and input"
        )
    outcomes = [game.outcome for game in played]
    ties = sum(game.score == 0.5 for game in played)
    on = len({game.task for game in played})
    apart = f"less than {margin:g} points apart" if margin else "equal"
    console.print(
        f"{len(played):,} outcomes on {on:,} instructions, {ties:,} of them ties: {apart}",
        soft_wrap=True,
    )
    console.print(rank.wins(outcomes))
    rank.print_ratings(outcomes, console, "instructions")
    if out is not None:
        jsonl.write(out, (game.row for game in played))
        command = f"llmill rank {out} --together instruction,input"
        console.print(printable.line(f"`{command}` rates them"), markup=False, soft_wrap=True)


def of_chain(stages: dict[str, Stage]) -> Chain:
    """Return the models that stage `judge` judges and that have answered."""
    chain = Chain()
    entries = pipeline.folder(stages, "prepare") / "instruction" / "test.jsonl"
    for entry in instruction.read(entries) if entries.exists() else ():
        key = answers.task(entry.instruction, entry.input)
        right = (entry.output, *entry.paraphrases)
        # A repeated task keeps its first reference, as its first answer counts.
        chain.tasks.setdefault(key, Known(right, tuple(entry.wrong)))
    measured: list[dict[str, Any]] = []
    for variant in pipeline.variants(stages, "judge"):
        # Stage instruct also has the foundation model answer.
        stage = "instruct" if variant == "pretrain" else variant
        folder = pipeline.folder(stages, stage)
        file = folder / "answers" / f"{variant}.json"
        if skipped.reason(folder) or not file.exists():
            continue
        chain.players[variant] = answers.read(file)
        judged = pipeline.folder(stages, f"judge/{variant}")
        if not skipped.reason(judged) and (judged / "scores.json").exists():
            for row in record.read_json(judged / "scores.json"):
                said = answers.task(row["instruction"], row["input"]), row["answer"]
                chain.scored.setdefault(said, row["score"])
            metrics = record.read_json(judged / "metrics.json")
            chain.judges.add(metrics["backend"])
            measured.append(metrics)
    chain.short_of = bar.missed(measured)
    grader = pipeline.folder(stages, "grader") / "checkpoint"
    chain.grader = grader if grader.is_dir() else None
    return chain


def elsewhere(paths: Sequence[Path], known: dict[str, Answers]) -> dict[str, Answers]:
    """Return the players of files and folders, by the names of the files without their endings."""
    found: dict[str, Answers] = {}
    for file in (file for path in paths for file in answers.files(path)):
        name = printable.line(file.stem)
        if name in known or name in found:
            raise UserError(f"{file}: there is a player '{name}' already; rename the file")
        if name == arena.TIE:
            raise UserError(
                f"{file}: no outcome could tell a player '{name}' from a tie; rename it"
            )
        found[name] = answers.read(file)
    return found


def chosen(chain: Chain, more: bool) -> tuple[By, str]:
    """Return who rates what no rule decides, the same for all players, and why. `more`: whether
    stage `judge` has not scored all of it.
    """
    because = None
    if chain.short_of:
        because = f"the judge does not reach its bar ({'; '.join(chain.short_of)})"
    elif len(chain.judges) > 1 or (more and "openai" in chain.judges):
        because = "the scores that there are come from another judge than the rest would"
    elif more and chain.grader is None:
        because = "there is no embedded judge, which stage grader makes"
    if because is None:
        who = "the embedded judge" if more or "openai" not in chain.judges else "the server"
        return "judge", f"Answers that no rule decides are rated by {who}."
    return "words", f"Answers that no rule decides are rated by ROUGE-L, because {because}."


def graded(rows: Sequence[Mapping[str, Any]], chain: Chain) -> list[float]:
    """Return the embedded judge's scores, as in stage `judge`; it opens only if there are rows."""
    if not rows:
        return []
    if chain.grader is None:
        raise UserError("--by judge: no embedded judge; run stage grader, or say --by words")
    return mean_scores(judge.grade_by_all(chain.grader, rows))


def met(players: dict[str, Answers], scores: Scores) -> Table:
    """Return a table of each player's answers, and how they were scored."""
    table = Table("", title="Players", title_justify="left")
    for head in ("answers", "scored", "empty", "mean score"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, own in players.items():
        told = [score for score in scores[name].values() if score is not None]
        empty = sum(not answer.strip() for answer in own.by_task.values())
        numbers = [f"{n:,}" for n in (len(own.by_task) + own.repeated, len(told), empty)]
        average = f"{mean(told):.1f}" if told else DASH
        table.add_row(Text(printable.line(name)), *numbers, average)
    return table


def left_out(players: dict[str, Answers], scores: Scores) -> list[str]:
    """Return which answers do not take part, and why, one line for each reason."""
    lines = []
    for name, own in players.items():
        counts = {
            "to an instruction without a reference here": len(own.by_task) - len(scores[name]),
            "to an instruction answered before": own.repeated,
            "without a score by the judge": sum(s is None for s in scores[name].values()),
        }
        lines += [f"{name}: left out {n:,} {what}" for what, n in counts.items() if n]
    return lines
