import hashlib
import json

import numpy as np
import pytest

from llmill.contract.errors import UserError
from llmill.text.tokenization import shards
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer

BYTES = Tokenizer({bytes([b]): b for b in range(256)})  # every byte is a token, and 256 ends a text
TEXTS = [["ab", "", "cdé"], ["f"], ["ghijk", "l"]]
ALL = [97, 98, 256, 256, 99, 100, 195, 169, 256, 102, 256, 103, 104, 105, 106, 107, 256, 108, 256]


@pytest.fixture
def folder(tmp_path):
    entries = [shards.write(tmp_path, f"{i:05d}", t, BYTES) for i, t in enumerate(TEXTS)]
    shards.write_index(tmp_path, BYTES.n_vocab, entries)
    return tmp_path


def test_every_text_is_followed_by_the_end_of_text_and_counted(folder):
    loaded = Shards.load(folder)
    assert loaded.window(0, loaded.tokens).tolist() == ALL
    assert (loaded.tokens, loaded.documents, loaded.text_bytes, loaded.n_vocab) == (19, 6, 13, 257)
    assert loaded.ends.tolist() == [3, 4, 9, 11, 17, 19]
    assert [ALL[end - 1] for end in loaded.ends] == [256] * 6


def test_the_source_of_every_token_is_known_across_shards(tmp_path):
    sources = [["b", "a", "b"], ["c"], ["a", "a"]]
    entries = [
        shards.write(tmp_path, f"{i:05d}", texts, BYTES, names)
        for i, (texts, names) in enumerate(zip(TEXTS, sources, strict=True))
    ]
    shards.write_index(tmp_path, BYTES.n_vocab, entries)
    loaded = Shards.load(tmp_path)
    assert loaded.sources == ["a", "b", "c"]
    assert loaded.source.tolist() == [1, 0, 1, 2, 0, 0]
    assert loaded.sources_of(np.arange(19)).tolist() == [1, 1, 1, 0, *[1] * 5, 2, 2, *[0] * 8]


def test_documents_without_a_source_are_of_one_that_has_no_name(folder):
    assert (Shards.load(folder).sources, set(Shards.load(folder).source)) == ([""], {0})


def test_a_window_crosses_shards_like_one_long_array(folder):
    loaded = Shards.load(folder)
    for start in range(20):
        for length in range(20 - start):
            assert loaded.window(start, length).tolist() == ALL[start : start + length]
    for start, length in ((-1, 2), (18, 2), (20, 1)):
        with pytest.raises(IndexError):
            loaded.window(start, length)


def test_windows_have_a_next_token_and_do_not_overlap(folder):
    loaded = Shards.load(folder)
    assert [loaded.n_windows(block) for block in (1, 6, 9, 18, 19, 50)] == [18, 3, 2, 1, 0, 0]


def test_the_type_is_the_smallest_that_holds_the_vocabulary(tmp_path):
    assert [shards.dtype(n) for n in (257, 65536, 65537)] == ["uint16", "uint16", "uint32"]
    ranks = {bytes([b]): b for b in range(256)}
    ranks |= {b"abc%d" % i: i for i in range(256, 70_000)}
    entry = shards.write(tmp_path, "00000", ["x"], Tokenizer(ranks))
    shards.write_index(tmp_path, 70_001, [entry])
    assert (tmp_path / "00000.bin").stat().st_size == 8
    assert Shards.load(tmp_path).window(0, 2).tolist() == [120, 70_000]


def test_tokens_are_mapped_and_not_read(folder):
    assert all(isinstance(part, np.memmap) for part in Shards.load(folder).parts)


def test_the_index_says_what_is_there(folder):
    index = json.loads((folder / "index.json").read_text())
    assert {key: index[key] for key in index if key != "shards"} == {
        "dtype": "uint16",
        "n_vocab": 257,
        "tokens": 19,
        "documents": 6,
        "text_bytes": 13,
    }
    assert [s["tokens"] for s in index["shards"]] == [9, 2, 8]
    assert index["shards"][1]["sha256"] == hashlib.sha256(b"f\0\0\1").hexdigest()


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["../00000", "/etc/passwd", "a/00000", "", None, 7, "x" * 300])
def test_an_index_names_files_beside_it_alone(folder, name):
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["name"] = name
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"index\.json: .* is no shard's name; `dvc checkout`"):
        Shards.load(folder)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("00001.bin", lambda p: p.write_bytes(p.read_bytes()[:-1]), "3 bytes, index.json says 4"),
        ("00001.bin", lambda p: p.unlink(), "missing"),
        ("00002.bin", flip, "corrupt"),
        ("00000.ends.npy", flip, "corrupt"),
        ("00000.ends.npy", lambda p: p.unlink(), "missing"),
        ("00001.sources.npy", flip, "corrupt"),
        ("index.json", lambda p: p.unlink(), "missing"),
        ("index.json", lambda p: p.write_text("{"), "not JSON"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(folder, name, damage, said):
    damage(folder / name)
    with pytest.raises(UserError, match=rf"{name}: {said}.*dvc (checkout|pull)"):
        Shards.load(folder)
