"""Names of numbered files, as bash writes them."""

import pytest

from llmill.text.download import numbered


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.txt", ["a.txt"]),
        ("train-{00000..00002}-of-00003.parquet", [
            "train-00000-of-00003.parquet",
            "train-00001-of-00003.parquet",
            "train-00002-of-00003.parquet",
        ]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{098..101}.gz", ["098.gz", "099.gz", "100.gz", "101.gz"]),
        ("CC-{10..11}/{0..1}.gz", ["CC-10/0.gz", "CC-10/1.gz", "CC-11/0.gz", "CC-11/1.gz"]),
        ("{3..3}", ["3"]),
        ("{a,b}-{}-{1..}", ["{a,b}-{}-{1..}"]),
    ],
)  # fmt: skip
def test_a_range_counts_up_with_as_many_digits_as_it_is_written_with(pattern, names):
    assert numbered.names(pattern) == names


def test_a_pattern_names_a_hundred_thousand_files_and_no_more():
    assert len(numbered.names("{00000..99999}")) == 100_000
    with pytest.raises(ValueError, match=r"names more than 100,000 files"):
        numbered.names("{0..100000}")


def test_what_is_no_entry_of_a_pattern_stays_as_it_is():
    entries = [None, {"path": 5}, {"path": "a"}, {"path": "a-{0..1}", "urls": "u"}]
    assert list(numbered.files(entries)) == list(enumerate(entries))
