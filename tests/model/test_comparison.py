"""What two parts of a row have in common, counted."""

import math

import pytest
import torch

from llmill.model.comparison import FIGURES, compare

END = 9


def figures(*parts: list[int], surprise: list[float] | None = None) -> list[float]:
    row = [END, *(token for part in parts for token in (*part, END))]
    nats = torch.tensor([surprise or [0.0] * len(row)])
    return compare(torch.tensor([row]), torch.tensor([len(row)]), nats)[0].tolist()


def test_a_part_and_itself_have_everything_in_common():
    assert figures([5, 6], [1, 2, 3], [1, 2, 3]) == [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_two_parts_that_differ_in_the_middle():
    # of the last part 2 of 3 tokens and 1 of 2 pairs, of the other 2 of 4 and 1 of 3
    found = figures([5], [1, 2, 3, 4], [1, 2, 7])
    assert found == pytest.approx(
        [0, 2 / 3, 1 / 2, 1 / 2, 1 / 3, 1 / 2, 0, math.log(2), math.log(3), math.log(4 / 5), 0]
    )


def test_an_empty_part_has_nothing_in_common():
    assert figures([5], [1, 2], [])[:7] == [0] * 7
    assert figures([5], [], [1, 2])[:7] == [0] * 7


def test_the_most_surprising_token_of_the_last_part_counts_and_no_other():
    surprise = [0, 99, 0, 99, 0, 1, 25, 2.0]
    assert figures([5], [1], [1, 2], surprise=surprise)[-1] == 2.5


def test_a_row_cut_at_its_left_is_compared_with_what_is_left():
    row = torch.tensor([[2, 3, END, 2, 3, END], [3, END, END, 0, 0, 0]])
    found = compare(row, torch.tensor([6, 3]), torch.zeros(2, 6))
    assert found.shape == (2, FIGURES)
    assert found[0, 0] == 1
    assert found[1, :7].tolist() == [0] * 7


def test_padding_and_other_rows_change_nothing():
    alone = figures([5], [1, 2, 3], [1, 3])
    row = torch.tensor([END, 5, END, 1, 2, 3, END, 1, 3, END, 0, 0])
    padded = compare(torch.stack([row, row.flip(0)]), torch.tensor([10, 12]), torch.zeros(2, 12))
    assert padded[0].tolist() == alone
