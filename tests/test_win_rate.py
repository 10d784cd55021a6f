"""`llmill win-rate`: AlpacaEval's figures, worked by hand, and files that hold no preferences."""

import json
import math

import pytest

from llmill.contract.errors import UserError
from llmill.win_rate import print_win_rate, read, win_rate


def test_the_win_rate_is_the_mean_preference_and_its_standard_error():
    """To six decimals: of 1, 0.5, 0 and 0.9 the mean is 0.6, the sample's variance 0.62 / 3."""
    found = win_rate([2, 1.5, 1, 1.9, None])
    assert found.value == pytest.approx(60.0, abs=1e-6)
    assert found.error == pytest.approx(100 * math.sqrt(0.62 / 3 / 4), abs=1e-6)
    assert (found.wins, found.ties, found.losses, found.without) == (2, 1, 1, 1)


def test_one_preference_has_no_standard_error():
    assert math.isnan(win_rate([2]).error)


def test_annotations_are_read_and_printed_on_one_line(tmp_path, capsys):
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps([{"preference": 2}, {"preference": 1}, {"preference": None}]))
    print_win_rate(file, "preference")
    assert capsys.readouterr().out == (
        "win rate 50.00 %, standard error 50.00; 1 won, 0 tied, 1 lost, 1 without a preference\n"
    )


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"preference": 1}, {"preference": 3}], r"entry 2 of 2: preference 3 is no number from 1 to 2"),
        ([{"preference": True}], "preference True is no number"),
        ([{"choice": 1}], "no 'preference'; --column names it"),
    ],
)  # fmt: skip
def test_what_is_no_preference_is_named(tmp_path, entries, reason):
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(UserError, match=reason):
        read(file, "preference")


def test_a_file_without_any_preference_is_refused(tmp_path):
    file = tmp_path / "annotations.jsonl"
    file.write_text('{"preference": null}\n')
    with pytest.raises(UserError, match=r"annotations.jsonl: no entry has a preference"):
        print_win_rate(file, "preference")
