import base64
import itertools
import os
import random
import subprocess
import sys

import pytest

from llmill.contract.errors import UserError
from llmill.text.tokenization.tokenizer import Tokenizer, from_gpt2, learn, merged, train

TEXTS = ["the theme of the thesis is the theory\n", "don't they thank the thin thing? 1 22 333 "]
STRANGE = [
    "",
    "<|endoftext|>",
    "a <|endoftext|> b",
    " \n\t\r\n  x\u00a0\u2028\u3000 ",
    "ÀÉÎ ß 漢字 \U0001f600 e\u0301 \x00\x7f",
    "''s 're 'LL _under_score_ C++ 3.14",
    "^" * 3000,
    " " * 25_000 + "x",
]


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train(TEXTS, 264)


@pytest.fixture(scope="module")
def gpt2(real_data) -> Tokenizer:
    return from_gpt2(real_data / "gpt2_bpe")


def test_the_vocabulary_has_the_asked_size_with_the_end_of_text_last(small):
    assert small.n_vocab == 264
    assert small.end_of_text == 263
    assert sorted(small.ranks.values()) == list(range(263))
    assert small.decode([small.end_of_text]) == "<|endoftext|>"


def test_frequent_pieces_become_tokens(small):
    assert [small.decode([i]) for i in small.encode("the theme")] == ["th", "e", " the", "m", "e"]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_any_text_decodes_to_itself_and_holds_no_special_token(small, text):
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert small.end_of_text not in ids


@pytest.mark.parametrize("text", [*STRANGE, "a \ud800 b"], ids=range(len(STRANGE) + 1))
def test_the_array_holds_the_same_ids(small, text):
    found = small.encode_array(text)
    assert found.dtype == "uint32"
    assert found.tolist() == small.encode(text)


def test_any_bytes_decode_to_themselves(small):
    rng = random.Random(0)
    contents = [bytes(range(256)), b"\xff<|endoftext|>\xc3", "é漢".encode()[:-1], b""]
    contents += [rng.randbytes(rng.randrange(60)) for _ in range(300)]
    for content in contents:
        ids = small.encode_bytes(content)
        assert small.decode_bytes(ids) == content
        assert small.end_of_text not in ids


def test_bytes_that_are_text_encode_as_the_text(small):
    assert small.encode_bytes("thé thing".encode()) == small.encode("thé thing")


def test_half_a_character_becomes_the_replacement_character(small):
    assert small.decode(small.encode("a\ud800b")) == "a\ufffdb"


def test_bytes_that_are_no_text_decode_with_the_replacement_character(small):
    assert small.decode(small.encode_bytes(b"a\xffb")) == "a\ufffdb"


def test_a_run_of_a_million_spaces_is_encoded(small):
    text = "a" + "\n" * 1_000_000 + "b"
    assert small.decode(small.encode(text)) == text


def test_what_is_long_takes_time_in_proportion():
    """A million letters without a space to learn from, spaces in runs that are a little too short
    to be cut, and letters beside a byte that the vocabulary lacks: each had no end before.
    """
    code = """
import random
from llmill.text.tokenization.tokenizer import Tokenizer, as_ranks, learn, train
letters = "".join(random.Random(1).choices("abcdefgh", k=1_000_000))
learnt = train([letters], 300)
spaces = (" " * 9_999 + "a") * 1_000
assert learnt.decode(learnt.encode(spaces)) == spaces
without = {token: rank for rank, token in enumerate(t for t in learnt.ranks if t != b"z")}
few = Tokenizer(without)
assert few.decode(few.encode(letters[:200_000] + "z")) == letters[:200_000]
print(max(map(len, learnt.ranks)) <= 1024)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=180, check=True
    )
    assert done.stdout == "True\n"


def test_merges_of_any_content_are_those_of_looking_for_the_lowest_rank_each_time(small):
    rng = random.Random(3)
    for _ in range(300):
        content = "".join(rng.choices("the s", k=rng.randrange(30))).encode()
        parts = [bytes([byte]) for byte in content]
        while pairs := [small.ranks.get(a + b, 999) for a, b in itertools.pairwise(parts)]:
            if min(pairs) >= small.n_vocab:
                break
            at = pairs.index(min(pairs))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        assert merged(content, small.ranks, small.n_vocab) == parts


def test_saving_and_loading_changes_nothing_and_gives_the_same_bytes(small, tmp_path):
    small.save(tmp_path / "one")
    loaded = Tokenizer.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert loaded.encode("the thin theory") == small.encode("the thin theory")
    assert (loaded.n_vocab, loaded.end_of_text) == (264, 263)
    for name in ("ranks.tiktoken", "tokenizer.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ranks.tiktoken", None),
        ("ranks.tiktoken", b"IQ== 0\nIg=="),
        ("ranks.tiktoken", b"IQ== 0\n"),
        ("ranks.tiktoken", b"%% 0\n"),
        ("tokenizer.json", None),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b'{"n_vocab": 300, "special": {"<|endoftext|>": 299}}'),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(small, tmp_path, name, content):
    small.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"dvc (checkout|pull)"):
        Tokenizer.load(tmp_path)


def test_training_again_in_another_process_gives_the_same_tokens(small, tmp_path):
    code = (
        "import sys, pathlib; from llmill.text.tokenization.tokenizer import train;"
        f"train({TEXTS!r}, 264).save(pathlib.Path(sys.argv[1]))"
    )
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        subprocess.run([sys.executable, "-c", code, tmp_path / seed], env=environment, check=True)
        assert Tokenizer.load(tmp_path / seed).ranks == small.ranks


def test_too_little_text_for_the_vocabulary_is_said_with_what_it_would_give():
    with pytest.raises(
        UserError, match=r"vocab_size 5000: the training text gives only \d+ tokens"
    ):
        train(TEXTS, 5000)


def test_gpt2s_files_give_the_ranks_that_openai_published(gpt2, real_data):
    lines = (real_data / "gpt2_bpe/r50k_base.tiktoken").read_bytes().splitlines()
    published = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    assert gpt2.ranks == published
    assert (gpt2.n_vocab, gpt2.end_of_text) == (50257, 50256)


def test_gpt2_encodes_as_it_is_known_to(gpt2):
    assert gpt2.encode("Hello, do you like tea?") == [15496, 11, 466, 345, 588, 8887, 30]
    assert gpt2.encode("Every effort moves you") == [6109, 3626, 6100, 345]
    assert gpt2.encode(" <|endoftext|>") == [1279, 91, 437, 1659, 5239, 91, 29]
    assert gpt2.decode_bytes([50256]) == b"<|endoftext|>"


def test_merges_that_do_not_fit_the_vocabulary_are_refused(real_data, tmp_path):
    (tmp_path / "encoder.json").write_bytes((real_data / "gpt2_bpe/encoder.json").read_bytes())
    merges = (real_data / "gpt2_bpe/vocab.bpe").read_bytes()
    (tmp_path / "vocab.bpe").write_bytes(merges[: len(merges) // 2])
    with pytest.raises(UserError, match=r"vocab\.bpe.*merges do not make"):
        from_gpt2(tmp_path)
    (tmp_path / "vocab.bpe").write_bytes(merges.replace(b"\nh e\n", b"\nh q\n", 1))
    with pytest.raises(UserError, match=r"vocab\.bpe: line 4 makes no token 258"):
        from_gpt2(tmp_path)


def test_ids_are_those_of_the_library_that_learnt_them(real_data):
    text = (real_data / "pretrain/tinyshakespeare.txt").read_text(encoding="utf-8")
    texts = text.split("\n\n")
    ours, theirs = train(texts, 1024), learn(texts, 1023)
    for sample in texts[:2000] + STRANGE:
        assert ours.encode(sample) == theirs.encode(sample).ids


def test_further_ends_are_kept_and_one_alone_is_not_written(tmp_path):
    ranks, special = {bytes([b]): b for b in range(256)}, {"<end>": 256, "<turn>": 257}
    Tokenizer(ranks, special=special, end_name="<end>").save(tmp_path / "one")
    assert '"ends"' not in (tmp_path / "one/tokenizer.json").read_text()
    assert Tokenizer.load(tmp_path / "one").ends == {256}
    Tokenizer(ranks, special=special, end_name="<end>", ends=[257]).save(tmp_path / "two")
    assert Tokenizer.load(tmp_path / "two").ends == {256, 257}
    file = tmp_path / "two/tokenizer.json"
    file.write_text(file.read_text().replace("257\n", "999\n"))
    with pytest.raises(UserError, match="do not fit"):
        Tokenizer.load(tmp_path / "two")
