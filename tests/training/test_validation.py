"""Which windows of the held-out text a validation reads."""

from itertools import chain

from llmill.training.validation import spread
from tests.evaluation.toys import shards_of


def test_few_windows_of_many_are_spread_over_the_whole_text(tmp_path):
    shards = shards_of(tmp_path, ["a" * 320])  # and the end of the text: 40 windows of 8
    found = {most: list(chain(*spread(shards, 8, most))) for most in (4, 50, None)}
    assert found == {4: [0, 10, 20, 30], 50: list(range(40)), None: list(range(40))}
