import pytest

from llmill.report import form

SHARE = {"value": 0.93217, "low": 0.91, "high": 0.9512, "n": 1234, "covers": "items"}


@pytest.mark.parametrize(
    ("item", "unit", "text"),
    [
        (SHARE, "share", "93.2 %"),
        (0.99987, "share", "99.99 %"),
        (0.00004, "share", "0.004 %"),
        (1.0, "share", "100.0 %"),
        (1 - 1e-9, "share", "100.0 %"),
        (0.0, "share", "0.0 %"),
        (0.0341, "gain", "+3.4"),
        (71.26, "points", "71.3"),
        (0.91349, "nats", "0.913"),
        (1234567, "count", "1,234,567"),
        (None, "share", "–"),
        ({}, "points", "–"),
    ],
)
def test_a_figure_is_written_in_its_unit(item, unit, text):
    assert form.number(item, unit) == text


def test_an_interval_stands_behind_its_value():
    assert form.with_interval(SHARE, "share") == "93.2 % (91.0 to 95.1)"
    assert form.with_interval(0.5, "share") == "50.0 %"
    assert form.with_interval({"value": 0.5, "low": None, "high": 1.0}, "share") == "50.0 %"
    assert form.interval(None, "share") == "–"
    assert form.trials(SHARE) == "1,234"


def test_a_single_observation_has_no_interval():
    one = {"value": 5.0, "low": 5.0, "high": 5.0, "n": 1, "covers": "items"}
    assert (form.bounds_of(one), form.interval(one, "points")) == (None, "–")
    assert form.bounds_of({**one, "n": 2}) == (5.0, 5.0)
    assert form.bounds_of({**one, "low": 0.0, "high": 100.0}) == (0.0, 100.0)


def test_a_name_on_the_way_to_a_figure_may_have_a_dot():
    metrics = {"by_source": {"my.notes": {"after": 2.0}, "my": {"other": 1.0}}, "a": 0}
    assert form.at(metrics, "by_source.my.notes.after") == 2.0
    assert form.at(metrics, "by_source.my.other") == 1.0
    assert form.at(metrics, "a") == 0
    assert [
        form.at(metrics, path) for path in ("by_source.your", "a.b", "by_source.my.notes.x")
    ] == [None] * 3


def test_what_an_interval_covers_is_said_in_a_sentence_a_cell_and_a_caption():
    seeds, both = ({**SHARE, "covers": covers} for covers in ("seeds", "both"))
    before = {"value": 0.5, "low": 0.4, "high": 0.6}  # written without
    assert form.in_words(SHARE, "share") == "93.2 % (91.0 to 95.1 over items)"
    assert form.in_words(both, "share") == "93.2 % (91.0 to 95.1 over items and seeds)"
    assert form.in_words(before, "share") == "50.0 % (40.0 to 60.0)"
    assert form.in_words(0.5, "share") == "50.0 %"
    said = [form.covers(each) for each in (SHARE, seeds, both, before, 0.5, None)]
    assert said == ["items", "seeds", "items and seeds", "–", "–", "–"]
    assert form.over([SHARE, SHARE, 0.5]) == "over items"
    assert form.over([SHARE, both]) == "over items or items and seeds"
    assert form.over([before, None]) == ""


def test_sizes_and_large_counts_are_short():
    sizes = [999, 1000, 804_335, 2_500_000_000, None]
    assert [form.size(n) for n in sizes] == ["999 bytes", "1.0 kB", "804.3 kB", "2.5 GB", "–"]
    counts = [999, 12_345, 1_048_576, 124_439_808, 999_600_000, 10_000_000_000, 15e12, 2e15]
    shown = [
        "999", "12,345", "1.05 million", "124 million", "1 billion", "10 billion", "15 trillion",
        "2,000 trillion",
    ]  # fmt: skip
    assert [form.short(n) for n in counts] == shown


def test_a_probability_too_small_to_write_is_below_a_bound():
    assert form.probability(0.0342) == "= 0.034"
    assert form.probability(1e-9) == "< 0.001"
    assert form.probability(None) == "= –"


def test_a_cell_breaks_between_value_and_interval_only():
    assert form.unbroken("93.2 % (91.0 to 95.1)") == "93.2\u00a0% (91.0\u00a0to\u00a095.1)"


def test_parameters_of_every_kind_are_written_plainly():
    values = [
        None,
        [],
        True,
        3,
        250_000,
        1e-3,
        "cosine",
        ["a", 2],
        {"value": 1, "low": 0, "high": 2},
        ["world", {"file": "own/a.csv", "text": ["title", "body"], "label": "kind", "split": None}],
    ]
    shown = ["–", "–", "yes", "3", "250,000", "0.001", "cosine", "a, 2", "1.000 (0.000 to 2.000)"]
    shown += ["world, {file: own/a.csv, text: [title, body], label: kind}"]
    assert [form.plain(value) for value in values] == shown
