"""Windows of a text, and how much of them is reproduced by a model that is known exactly."""

from llmill.evaluation.language.memorisation import figures, reproduced, windows
from tests.evaluation.toys import bigram, bytes_tokenizer, shards_of

ALPHABET = "abcdefgh"
CYCLE = bigram(dict(zip(ALPHABET, ALPHABET[1:] + "a", strict=True)))
DRAWS = {"confidence": 0.95, "resamples": 200, "seed": 1}


def test_windows_are_whole_parts_of_different_documents(tmp_path):
    texts = ["0123456789", "short", "abcdefgh", "ABCDEFGHIJKL"]
    shards = shards_of(tmp_path, texts)
    found = [bytes(ids).decode() for ids in windows(shards, 8, 10, seed=1)]
    assert len(found) == 3
    assert sorted(sum(window in text for window in found) for text in texts) == [0, 1, 1, 1]
    assert windows(shards, 8, 2, seed=1) == windows(shards, 8, 2, seed=1)
    assert len(windows(shards, 8, 2, seed=1)) == 2
    assert windows(shards, 13, 10, seed=1) == []
    begun = {bytes(windows(shards, 8, 10, seed=s)[0]).decode() for s in range(40)}
    assert {"01234567", "12345678", "23456789", "EFGHIJKL"} <= begun


def test_the_share_of_tokens_that_are_written_at_their_places_is_measured():
    texts = [[*text.encode()] for text in ("abcdefgh", "abcdxxxx", "abcdefxx", "xbcdexgx")]
    assert reproduced(CYCLE, bytes_tokenizer(), texts, 4) == [1.0, 0.0, 0.5, 0.5]


def test_a_text_that_ends_early_reproduces_no_more():
    model = bigram({"a": "b", "b": ""})
    assert reproduced(model, bytes_tokenizer(), [[*b"aabbbb"]], 2) == [0.25]


def test_what_counts_is_the_difference_to_held_out_text():
    found = figures([1.0, 0.5, 1.0, 0.0], [0.5, 0.0], DRAWS)
    assert (found["training"]["whole"]["value"], found["held_out"]["whole"]["value"]) == (0.5, 0.0)
    assert (found["training"]["tokens"]["value"], found["held_out"]["tokens"]["value"]) == (
        0.625,
        0.25,
    )
    difference = found["difference"]["tokens"]
    assert (difference["value"], difference["n"]) == (0.375, 6)
    assert difference["low"] < 0 < difference["high"]


def test_no_windows_have_no_difference():
    found = figures([], [1.0], DRAWS)
    assert found["training"]["tokens"] is None
    assert found["difference"] == {"whole": None, "tokens": None}
    assert found["training"]["whole"] == {
        "value": 0.0,
        "low": 0.0,
        "high": 1.0,
        "n": 0,
        "covers": "items",
    }
