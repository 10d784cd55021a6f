"""Texts that a model writes in groups, of a model that is known exactly."""

from llmill.evaluation.inference import writing
from llmill.evaluation.inference.writing import greedy
from tests.evaluation.toys import bigram, bytes_tokenizer


def test_texts_of_several_groups_stand_in_the_order_of_their_prompts(monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 2)
    model, told = bigram({"a": "b", "b": "c", "c": "d", "d": ""}), []
    prompts = [[*text.encode()] for text in ("c", "xa", "b", "d", "a")]
    found = greedy(model, bytes_tokenizer(), prompts, 2, lambda *done: told.append(done))
    assert [bytes(ids).decode() for ids in found] == ["d", "bc", "cd", "", "bc"]
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_no_prompts_give_no_texts():
    assert greedy(bigram({}), bytes_tokenizer(), [], 2) == []
