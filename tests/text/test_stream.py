"""Text that comes token by token, against decoding it whole and cutting it then."""

import itertools
import random

import pytest

from llmill.text.tokenization.stream import TextStream


def shown(tokens: list[bytes], stop: tuple[str, ...] = ()) -> list[str]:
    """The piece that each token gives, and the rest."""
    stream = TextStream(lambda ids: b"".join(tokens[i] for i in ids), stop)
    pieces = [stream.push(i) for i in range(len(tokens))]
    return [*pieces, stream.close()]


def cut(text: str, stop: tuple[str, ...]) -> str:
    """Slowly: read character by character, and end where a stop string does."""
    for end in range(len(text) + 1):
        ending = [each for each in stop if text[:end].endswith(each)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


def test_a_character_of_several_tokens_is_shown_when_it_is_whole():
    assert shown([b"a", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x99", b"\x82"]) == [
        "a", "", "é", "", "", "🙂", "",
    ]  # fmt: skip


def test_bytes_that_never_become_a_character_show_as_the_replacement_character():
    assert shown([b"\xff", b"a", b"\xf0\x9f"]) == ["\ufffd", "a", "", "\ufffd"]


@pytest.mark.parametrize(
    ("tokens", "stop", "pieces"),
    [
        (["one", " EN", "D", " two"], ("END",), ["one", " ", "", "", ""]),
        (["one", " EN", "E", " two"], ("END",), ["one", " ", "EN", "E two", ""]),
        (["one", " EN"], ("END",), ["one", " ", "EN"]),
        (["aab"], ("ab",), ["a", ""]),
        (["a", "a", "b", "x"], ("ab",), ["", "a", "", "", ""]),
        (["abc"], ("abc", "b"), ["a", ""]),
        (["abc"], ("c", "bc", "xbc"), ["a", ""]),
        (["é", "END"], ("éEND",), ["", "", ""]),
        (["x\n", "\ny"], ("\n\n",), ["x", "", ""]),
    ],
)
def test_what_may_begin_a_stop_string_waits_and_the_first_whole_one_ends_the_text(
    tokens, stop, pieces
):
    assert shown([token.encode() for token in tokens], stop) == pieces


def test_whether_it_stopped_and_how_much_is_shown_can_be_asked():
    tokens = [b"on", b"eE", b"ND", b"x"]
    stream = TextStream(lambda ids: tokens[ids[0]], ("END",))
    seen = []
    for i in range(4):
        stream.push(i)
        seen.append((stream.shown, stream.whole, stream.stopped))
    assert seen == [(2, 2, False), (3, 4, False), (3, 3, True), (3, 3, True)]


def test_white_space_before_an_answer_is_left_out_if_asked_and_none_in_it():
    stream = TextStream(bytes, ["C"], strip=True)
    assert [stream.push(byte) for byte in b" \n A \nBC"] == ["", "", "", "A", " ", "\n", "B", ""]
    assert stream.shown == 4


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        TextStream(lambda ids: b"", ["x", ""])


@pytest.mark.parametrize("seed", range(300))
def test_random_pieces_give_what_decoding_and_cutting_give(seed):
    draw = random.Random(seed)
    letters = draw.choice(["ab", "abé", "aé🙂\n"])
    content = "".join(draw.choices(letters, k=draw.randrange(40))).encode()
    if draw.random() < 0.3:
        content = b"".join(draw.choices([content, b"\xc3", b"\x9f\x99", b"\xff", b"a"], k=5))
    bounds = sorted(draw.choices(range(len(content) + 1), k=draw.randrange(30)))
    ends = [0, *bounds, len(content)]
    tokens = [content[a:b] for a, b in itertools.pairwise(ends)]
    sizes = [draw.randrange(1, 6) for _ in range(draw.randrange(4))]
    stop = tuple("".join(draw.choices([*letters, "\ufffd"], k=size)) for size in sizes)
    expected = cut(content.decode("utf-8", errors="replace"), stop)
    assert "".join(shown(tokens, stop)) == expected


def test_no_more_is_held_back_than_the_longest_stop_string_but_one():
    stream = TextStream(lambda ids: b"ab"[ids[0] : ids[0] + 1], ["aaab", "ba"])
    held = []
    for _ in range(9):
        stream.push(0)
        held.append(stream.whole - stream.shown)
    assert held == [1, 2, 3, 3, 3, 3, 3, 3, 3]
