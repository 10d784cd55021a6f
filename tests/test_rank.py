"""`llmill rank`: tables of outcomes as people have them, and what cannot be rated."""

import io

import pytest
from rich.console import Console

from llmill.contract.errors import UserError
from llmill.evaluation.statistics.ranking import Outcome
from llmill.rank import print_ranking, read, wins

COLUMNS = ["model_a", "model_b", "winner"]


def said(file, together=()) -> str:
    out = io.StringIO()
    print_ranking(file, COLUMNS, Console(file=out, width=120), together)
    return out.getvalue()


def table(tmp_path, *rows: str, name="outcomes.csv"):
    file = tmp_path / name
    file.write_text("\n".join(("model_a,model_b,winner", *rows)) + "\n")
    return file


def test_a_winner_is_named_by_its_name_or_its_column_or_is_a_tie(tmp_path):
    file = table(
        tmp_path, "x,y,x", "x,y,y", "x,y,model_a", "x,y,B", "x,y,tie (bothbad)", "x,y,draw"
    )
    assert read(file, COLUMNS) == [Outcome("x", "y", s) for s in (1.0, 0.0, 1.0, 0.0, 0.5, 0.5)]


def test_a_player_s_name_goes_before_what_the_word_means_elsewhere(tmp_path):
    file = table(tmp_path, "b,a,a", "b,a,b", "x,tie,tie")
    assert [each.score for each in read(file, COLUMNS)] == [0.0, 1.0, 0.0]


def test_a_name_is_shown_as_it_is(tmp_path):
    shown = said(table(tmp_path, "[red]x,y,y", "[red]x,y,[red]x", "best[1],y,best[1]"))
    assert "│ [red]x │" in shown
    assert "Not rated: best[1]." in shown
    assert "│ \\x1b[31m │" in said(table(tmp_path, "\x1b[31m,y,y", "\x1b[31m,y,\x1b[31m"))


def test_ratings_that_hardly_a_resample_has_stand_without_intervals(tmp_path):
    """Twelve players, each of whom beat the next once: 12! of 12^12 resamples have every outcome."""
    ring = [f"p{n},p{(n + 1) % 12},p{n}" for n in range(12)]
    shown = said(table(tmp_path, *ring))
    assert shown.count(" 1000 ") >= 12
    assert shown.count(" – ") == 12
    assert "1000 of 1000 resamples had no finite rating" in " ".join(shown.split())


def test_json_lines_and_other_columns_are_read_as_well(tmp_path):
    file = tmp_path / "outcomes.jsonl"
    file.write_text('{"left": "x", "right": "y", "best": "tie", "judge": 3}\n')
    assert read(file, ["left", "right", "best"]) == [Outcome("x", "y", 0.5)]


def test_players_stand_by_their_rating_with_interval_and_record(tmp_path):
    rows = 6 * ["x,y,x"] + 2 * ["x,y,y"] + 4 * ["y,x,tie"]
    lines = [line.split() for line in said(table(tmp_path, *rows)).splitlines() if "│" in line]
    best, other = ([cell for cell in line if cell != "│"] for line in lines[-2:])
    # ln 3 on Elo's scale is 190.8, half of it to either side of 1000.
    assert (best[0], best[1], best[5:8]) == ("x", "1095", ["6", "4", "2"])
    assert (other[0], other[1], other[5:8]) == ("y", "905", ["2", "4", "6"])
    assert int(best[2]) < 1095 < int(best[4])


def test_outcomes_of_one_question_are_drawn_together_and_said_to_be(tmp_path):
    file = tmp_path / "outcomes.csv"
    rows = [f"x,y,{'x' if n % 3 else 'y'},{n % 6},{n // 6}" for n in range(60) for _ in range(4)]
    file.write_text("\n".join(("model_a,model_b,winner,page,line", *rows)) + "\n")

    def width(shown: str) -> int:
        cells = next(line.split() for line in shown.splitlines() if line.startswith("│ x "))
        return int(cells[7]) - int(cells[5])

    alone, together = said(file), said(file, ["page", "line"])
    assert "intervals over outcomes drawn anew" in " ".join(alone.split())
    assert "intervals over values of page and line drawn anew" in " ".join(together.split())
    assert width(together) > 1.5 * width(alone)


def test_wins_stand_by_pair_whoever_is_named_first():
    out = io.StringIO()
    outcomes = [Outcome("x", "y", 1.0), Outcome("y", "x", 0.5), Outcome("y", "z", 0.0)]
    Console(file=out, width=80).print(wins(outcomes))
    lines = [line.replace("│", " ").split() for line in out.getvalue().splitlines()]
    assert ["x", "y", "1", "1", "0"] in lines
    assert ["y", "z", "0", "0", "1"] in lines


def test_groups_that_never_met_are_rated_apart_and_said_to_be(tmp_path):
    shown = said(table(tmp_path, "x,y,x", "x,y,y", "v,w,v", "v,w,w"))
    assert "2 groups never met" in shown
    assert shown.count("2 outcomes") == 2


def test_who_only_won_has_no_rating_and_is_named(tmp_path):
    shown = said(table(tmp_path, "best,x,best", "x,y,x", "x,y,y"))
    assert "no finite rating fits them: x, y; best. Not rated: best." in shown
    assert shown.count("2 outcomes") == 1  # those of the two that are rated
    ties = said(table(tmp_path, "x,y,tie"))
    assert "All outcomes are ties, so no rating differs from another: x; y." in ties
    lone = said(table(tmp_path, "best,x,best"))
    assert "Not rated: best, x." in lone


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,y,z", r"outcomes.csv, row 2: the winner 'z' is neither 'x' nor 'y', model_a or model_b, nor tie"),
        ("x,,x", "outcomes.csv, row 2: no name of a player"),
        ("x,x,x", "outcomes.csv, row 2: 'x' against itself"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_outcome_is_named(tmp_path, row, reason):
    with pytest.raises(UserError, match=reason):
        said(table(tmp_path, "x,y,x", row))


def test_a_table_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: missing$"):
        said(tmp_path / "none.csv")
