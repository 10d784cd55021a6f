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


@pytest.mark.parametrize(
    ("won", "tied", "lost", "value", "error"),
    [
        (761, 12, 32, 95.27950310559006, 0.716281440286153),  # gpt4, judged by GPT-4
        (783, 5, 16, 97.69900497512438, 0.5104849118311993),  # gpt4_1106_preview
        (588, 12, 205, 73.7888198757764, 1.5359801545073597),  # gpt4, judged by ChatGPT
        (606, 9, 190, 75.83850931677019, 1.4981004247868313),  # claude, judged by Claude
        (216, 20, 569, 28.07453416149068, 1.5602183426587484),  # text_davinci_001, by ChatGPT
        (0, 805, 0, 50.0, 0.0),  # text_davinci_003, against itself
    ],
)
def test_published_rows_are_met_to_six_decimals(won, tied, lost, value, error):
    """Of AlpacaEval's leaderboards, as alpaca_eval 0.6.6 has them, those whose preferences are all
    whole: so their counts are all that the figures depend on.
    """
    found = win_rate(won * [2] + tied * [1.5] + lost * [1])
    assert (found.value, found.error) == pytest.approx((value, error), abs=1e-6)


def test_one_preference_has_no_standard_error():
    assert math.isnan(win_rate([2]).error)


def test_annotations_are_read_and_printed_on_one_line(tmp_path, capsys):
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps([{"preference": 2}, {"preference": 1}, {"preference": None}]))
    print_win_rate(file, "preference")
    assert capsys.readouterr().out == (
        "win rate 50.00 %, standard error 50.00; 1 won, 0 tied, 1 lost, 1 without a preference\n"
    )


def test_nought_is_a_tie_as_older_files_have_it(tmp_path):
    file = tmp_path / "annotations.json"
    file.write_text('[{"preference": 0}, {"preference": 0.0}, {"preference": 2}]')
    assert read(file, "preference") == [1.5, 1.5, 2]


def annotations(tmp_path, **more):
    """Six instructions; the model's answers are 1 to 6 characters longer."""
    file = tmp_path / "annotations.json"
    entries = [
        {"preference": 1 + n % 2, "output_1": "abc", "output_2": "abcd" + n * "e"} | more
        for n in range(6)
    ]
    file.write_text(json.dumps(entries))
    return file


def gamed(tmp_path, *rows: str):
    file = tmp_path / "df_gamed.csv"
    head = "model,preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline"
    file.write_text("\n".join((head, *rows)) + "\n")
    return file


def test_the_length_controlled_rate_stands_below_with_its_terms(tmp_path, capsys):
    print_win_rate(annotations(tmp_path), "preference", length_controlled=True)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("win rate 50.00 %")
    assert second.startswith("length-controlled ")
    assert "95% of 200 draws of the instructions give" in second
    assert "no term for difficulty (--gamed has it)" in third


def test_the_table_of_weak_answers_brings_the_difficulty(tmp_path, capsys):
    table = gamed(tmp_path, *(f"short,{n / 10},{n},1.0,{n - 2.5},False" for n in range(6)))
    print_win_rate(annotations(tmp_path), "preference", gamed=table)
    assert "difficulty +" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["short,0.1,0,1.0,0.5,False"], r"'index' names 1 instructions, and not each of the 6 .* 0 to 5"),
        (["short,0.1,0,long,0.5,False"], r"df_gamed.csv, row 1: std_delta_len 'long' is no number"),
        (["short,,0,1.0,,False"], r"row 1: instruction_difficulty '' is no number"),
        (["short,1.7,0,1.0,0.5,False"], r"row 1: preference '1.7' is not from 0 to 1"),
    ],
)  # fmt: skip
def test_a_table_of_weak_answers_that_does_not_fit_is_refused(tmp_path, rows, reason):
    with pytest.raises(UserError, match=reason):
        print_win_rate(annotations(tmp_path), "preference", gamed=gamed(tmp_path, *rows))


def test_lengths_need_both_answers(tmp_path):
    with pytest.raises(UserError, match=r"entry 1 of 6: no text 'output_2'; lengths need both"):
        print_win_rate(annotations(tmp_path, output_2=None), "preference", length_controlled=True)


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


def test_files_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: missing$"):
        print_win_rate(tmp_path / "none.json", "preference")
    with pytest.raises(UserError, match="not a file"):
        print_win_rate(tmp_path, "preference")
    with pytest.raises(UserError, match=r"none\.csv: missing$"):
        print_win_rate(annotations(tmp_path), "preference", gamed=tmp_path / "none.csv")
