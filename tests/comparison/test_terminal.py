"""The comparison in a terminal: what is left out, and that it is said."""

import io

import pytest
from rich.console import Console

from llmill.comparison import terminal
from llmill.comparison.chain import Comparison
from llmill.comparison.reasons import Reason


@pytest.mark.parametrize(
    ("n_open", "last"),
    [
        (3, "known: the only change."),
        (4, "1 more stage has several changes upstream that no run separates: use --all or --page"),
        (6, "3 more stages have several changes upstream that no run separates: use --all or --page"),
    ],
)  # fmt: skip
def test_of_stages_with_changes_that_no_run_separates_three_lines_are_shown(n_open, last):
    reasons = [
        Reason([f"stage{n}"], "`dvc exp run` makes one", is_open=True) for n in range(n_open)
    ]
    reasons.append(Reason(["known"], "the only change"))

    def lines(everything):
        comparison = Comparison(("a", "b"), ("", ""), alone=1, reasons=reasons)
        out = io.StringIO()
        terminal.show(comparison, Console(file=out, width=100), everything)
        return out.getvalue().splitlines()

    assert sum("dvc exp run" in line for line in lines(False)) == 3
    assert "known: the only change." in lines(False)
    assert lines(False)[-1] == last
    assert sum("dvc exp run" in line for line in lines(True)) == n_open
    assert not any("more stage" in line for line in lines(True))
