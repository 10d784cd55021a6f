"""Our tokenizers as other programs read them: the same ids, whatever the text."""

import random

import pytest

from llmill.text.tokenization import tokenizer_json
from llmill.text.tokenization.tokenizer import END_OF_TEXT, Tokenizer, train
from tests.text.test_tokenizer import TEXTS

SAMPLES = [
    "", " ", "  two  spaces ", "tabs\tand\n\nlines \n ", "it's we'll I'd", "naïve Zürich 東京 🙂👍🏽",
    "3.14159 and 1,000", "don't''s", "a\u00a0b", "   \n  x   ", "x" * 300, "\x00\x7f",
]  # fmt: skip


@pytest.fixture(scope="module")
def learnt() -> Tokenizer:
    return train(SAMPLES * 2 + TEXTS * 5, 300)


def test_every_text_gives_the_same_ids_there(learnt):
    theirs = tokenizer_json.converted(learnt)
    rng = random.Random(1)
    drawn = ["".join(rng.choices("ab cé\n\t'ts.9 ", k=rng.randrange(40))) for _ in range(500)]
    for text in [*SAMPLES, *TEXTS, *drawn]:
        assert theirs.encode(text).ids == learnt.encode(text), repr(text)
        assert theirs.decode(learnt.encode(text)) == text


def test_the_special_token_has_its_id_and_is_special_there(learnt):
    theirs = tokenizer_json.converted(learnt)
    assert theirs.token_to_id(END_OF_TEXT) == learnt.end_of_text
    assert theirs.encode(f"a{END_OF_TEXT}b").ids == [
        *learnt.encode("a"), learnt.end_of_text, *learnt.encode("b"),
    ]  # fmt: skip
    assert theirs.get_vocab_size() == learnt.n_vocab


def test_a_tokenizer_that_begins_texts_does_so_also_when_it_cuts_their_left_off(learnt):
    theirs = tokenizer_json.converted(learnt, begin=True)
    for text in [*SAMPLES, *TEXTS]:
        assert theirs.encode(text).ids == [learnt.end_of_text, *learnt.encode(text)]
    theirs.enable_truncation(5, direction="left")
    assert max(len(learnt.encode(text)) for text in TEXTS) > 5
    for text in [*SAMPLES, *TEXTS]:
        assert theirs.encode(text).ids == [learnt.end_of_text, *learnt.encode(text)[-4:]]


def test_merges_are_those_that_were_learnt():
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5, b"abab": 6}
    assert tokenizer_json.merges(ranks) == [
        (b"a", b"b"),
        (b"b", b"c"),
        (b"ab", b"c"),
        (b"ab", b"ab"),
    ]


def test_transformers_reads_the_file(learnt, tmp_path):
    transformers = pytest.importorskip("transformers")
    file = tmp_path / "tokenizer.json"
    tokenizer_json.write(learnt, file)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
    for text in SAMPLES:
        assert theirs(text)["input_ids"] == learnt.encode(text)
