"""Conversations of two turns: what is joined, what stays, and that nothing is lost."""

import pytest

from llmill.tasks.conversation import message
from llmill.tasks.instruction import Instruction
from llmill.tasks.pairing import paired


def entry(n: int) -> Instruction:
    return Instruction(f"Say {n}.", "", str(n), kind="word", paraphrases=[f"{n}!"])


def always(pair: Instruction) -> bool:
    return True


def numbers(entries: list[Instruction]) -> list[list[str]]:
    """What the assistant says in each conversation."""
    return [[m["content"] for m in e.messages if m["role"] == "assistant"] for e in entries]


def test_a_pair_is_one_conversation_in_the_place_of_its_first_turn():
    found = paired([entry(1), entry(2)], 1.0, seed=0, fits=always)
    assert len(found) == 1
    assert found[0].messages == [
        message("user", "Say 1."),
        message("assistant", "1"),
        message("user", "Say 2."),
        message("assistant", "2"),
    ]
    assert (found[0].kind, found[0].paraphrases) == ("word", ["2!"])


@pytest.mark.parametrize(
    ("share", "pairs"), [(0.0, 0), (0.05, 0), (0.2, 1), (0.25, 1), (0.5, 2), (1.0, 5)]
)
def test_the_share_is_that_of_the_instructions_and_the_others_keep_their_order(share, pairs):
    found = numbers(paired([entry(n) for n in range(10)], share, seed=1, fits=always))
    assert sum(len(each) == 2 for each in found) == pairs
    assert sorted(n for each in found for n in each) == [str(n) for n in range(10)]
    single = [each[0] for each in found if len(each) == 1]
    assert single == sorted(single)


def test_the_pairs_depend_on_the_seed_alone():
    entries = [entry(n) for n in range(20)]
    drawn = [numbers(paired(entries, 0.4, seed, always)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_pair_that_does_not_fit_stays_apart():
    entries = [entry(n) for n in range(10)]
    found = paired(entries, 1.0, seed=1, fits=lambda pair: pair.output != "3")
    assert sorted(map(len, numbers(found))) == [1, 1, 2, 2, 2, 2]
    assert ["3"] in numbers(found)


@pytest.mark.parametrize("count", range(9))
def test_any_number_of_instructions_may_be_joined_and_an_odd_one_stays_alone(count):
    found = numbers(paired([entry(n) for n in range(count)], 1.0, seed=1, fits=always))
    assert sorted(map(len, found)) == [1] * (count % 2) + [2] * (count // 2)


def test_two_copies_of_one_task_stay_apart():
    found = numbers(paired([entry(1), entry(1)], 1.0, seed=1, fits=always))
    assert found == [["1"], ["1"]]


def test_conversations_and_system_messages_stay_as_they_are():
    talk = Instruction("And?", "", "B", earlier=[message("user", "A?"), message("assistant", "A")])
    ruled = Instruction("C?", "", "C", earlier=[message("system", "Be brief.")])
    found = paired([talk, entry(1), ruled, entry(2)], 1.0, seed=0, fits=always)
    assert found[0::2] == [talk, ruled]
    assert numbers(found) == [["A", "B"], ["1", "2"], ["C"]]
