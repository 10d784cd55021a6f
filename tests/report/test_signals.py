"""The tables of the foundation's signals, cell by cell."""

from llmill.report import signals

PAIRS = {
    "model": {"value": 0.28, "low": 0.17, "high": 0.42, "n": 50},
    "unigram": {"value": 0.5, "low": 0.37, "high": 0.63, "n": 50},
    "shorter": {"value": 0.5, "low": 0.37, "high": 0.63, "n": 50},
}


def test_each_figure_stands_beside_what_to_compare_it_with():
    bits = {"value": 0.311, "low": 0.302, "high": 0.32, "n": 215}
    found = {"bits_per_byte": {"all": bits, "unigram": {"value": 2.137}, "gzip": 2.214}}
    rows = signals.figures(found).rows
    assert rows[0] == [
        "bits per byte, held-out documents",
        "unigram 2.137, gzip 2.214",
        "0.311 (0.302 to 0.320)",
        "215",
    ]
    assert rows[-1] == [
        "minimal pairs, mean over phenomena", "unigram –, shorter sentence –", "–", "–",
    ]  # fmt: skip


def test_a_phenomenon_has_a_row():
    found = signals.minimal_pairs({"minimal_pairs": {"phenomena": {"word_order": PAIRS}}})
    assert found.rows == [
        ["word order", "28.0 % (17.0 to 42.0)", "50.0 % (37.0 to 63.0)", "50.0 % (37.0 to 63.0)", "50"]
    ]  # fmt: skip
    assert signals.minimal_pairs({}).rows == []
