import unicodedata

from llmill.tasks.split import distinct, opening, part, split, whole


def shares(rows, validate_share=0.1, test_share=0.2):
    return split(rows, str, validate_share, test_share)


def test_every_row_is_in_one_split_of_about_its_share():
    rows = [f"row {i}" for i in range(2000)]
    found = shares(rows)
    assert sorted(found) == ["test", "train", "validate"]
    assert sorted(row for part in found.values() for row in part) == sorted(rows)
    assert 340 < len(found["test"]) < 460
    assert 150 < len(found["validate"]) < 250


def test_a_row_stays_where_it_is_when_others_come_or_another_share_changes():
    rows = [f"row {i}" for i in range(300)]
    more = shares(rows + [f"new {i}" for i in range(300)])
    assert set(shares(rows)["test"]) <= set(more["test"])
    assert shares(rows, validate_share=0.5)["test"] == shares(rows)["test"]


def test_case_and_white_space_move_no_row():
    assert all(len(set(where)) == 1 for where in _places(200))


def test_another_unicode_form_of_a_text_is_the_same_text():
    composed = [f"forêt défaite élève général {i}" for i in range(60)]
    decomposed = [unicodedata.normalize("NFD", text) for text in composed]
    assert composed[0] != decomposed[0]
    assert distinct([*composed, *decomposed], str) == composed
    found = shares([*composed, *decomposed])
    places = {
        name: {unicodedata.normalize("NFC", row) for row in rows} for name, rows in found.items()
    }
    assert sum(map(len, places.values())) == 60


def _places(n):
    for i in range(n):
        found = shares([f"Row {i}", f" row\t{i} "])
        yield [name for name, rows in found.items() for _ in rows]


def test_shares_of_nothing_leave_a_split_empty():
    assert {part(str(i), 0.0, 0.0) for i in range(100)} == {"train"}


def test_of_rows_alike_the_first_stays():
    assert distinct(["A b", "c", "a  B ", "C", "a, b"], str) == ["A b", "c", "a, b"]


def test_a_conversation_goes_with_the_shortest_one_that_it_begins_with():
    short, long, longer = ["Hi"], ["hi ", "Yes?", "Why"], ["HI", "yes?", "why", "So.", "Ah"]
    other = ["Hi", "Who?", "Me"]
    known = {whole(said) for said in (short, long, longer, other)}
    assert {opening(said, known) for said in (short, long, longer, other)} == {"hi"}
    known.remove("hi")
    assert opening(long, known) == opening(longer, known) == whole(long)
    assert opening(other, known) == whole(other) != whole(long)


def test_messages_are_told_apart_by_where_they_end():
    assert whole(["a", "b c"]) != whole(["a b", "c"])
    assert whole(["a", "b"]) != whole(["a b"])
