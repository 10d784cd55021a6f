import json
import shutil
from pathlib import Path

import pytest

from llmill.contract.errors import UserError
from llmill.stages import tokenizer as stage
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document
from llmill.text.tokenization.tokenizer import Tokenizer, train
from tests.conftest import preset
from tests.jobs import Job
from tests.model import ggufs

WORLD = preset("world")
SHARD = 20  # documents
SENTENCES = [
    "the weather in the north is rather cold today.",
    "our family boils a soup of salmon and potatoes.",
    "my bicycle must cross an old wooden bridge.",
]
TEXTS = [f"Line {i}: {SENTENCES[i // SHARD]}" for i in range(50)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    documents = [Document(text, "mine", str(i)) for i, text in enumerate(TEXTS)]
    parquet.write(tmp_path / "data/prepare/text/train", documents, SHARD)
    return tmp_path


def run(folder: Path, kind: str, vocab_size: int) -> Path:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    settings = stage.TokenizerSection(kind=kind, vocab_size=vocab_size)
    stage.run(stage.Parameters(tokenizer=settings), Job(out))
    return out


def test_all_shards_are_learnt_from_and_the_result_is_measured(folder):
    out = run(folder, "bpe", 280)
    made = Tokenizer.load(out / "bpe")
    assert made.ranks == train(TEXTS, 280).ranks
    metrics = json.loads((out / "metrics.json").read_text())
    assert made.n_vocab == metrics["n_vocab"] == 280
    assert metrics["bytes_per_token"] > 1.5
    assert metrics["longest_token_bytes"] == max(map(len, made.ranks))
    assert sorted(p.name for p in (out / "bpe").iterdir()) == ["ranks.tiktoken", "tokenizer.json"]


def test_the_same_documents_give_the_same_bytes(folder):
    first = (run(folder, "bpe", 280) / "bpe/ranks.tiktoken").read_bytes()
    assert (run(folder, "bpe", 280) / "bpe/ranks.tiktoken").read_bytes() == first


def test_gpt2s_own_files_are_taken_as_they_are(folder, real_data):
    (folder / "data/download").mkdir()
    (folder / "data/download/tokenizer").symlink_to(real_data.resolve() / "gpt2_bpe")
    made = Tokenizer.load(run(folder, "gpt2", 50257) / "bpe")
    assert made.encode("Hello world") == [15496, 995]
    assert made.n_vocab == 50257


def test_the_tokenizer_of_the_weights_is_taken_as_it_is(folder):
    theirs = Tokenizer(
        {bytes([b]): b + 1 for b in range(256)}, special={"<end>": 0}, end_name="<end>"
    )
    theirs.save(folder / "data/download/init/bpe")
    made = Tokenizer.load(run(folder, "init", None) / "bpe")
    assert (made.ranks, made.special) == (theirs.ranks, {"<end>": 0})
    assert (made.encode("Line"), made.end_of_text) == ([77, 106, 111, 102], 0)


def test_the_tokenizer_inside_a_gguf_is_taken_with_all_its_ends(folder):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    (folder / "data/download/init").mkdir(parents=True)
    values = ggufs.bytes_tokens(256) | {"tokenizer.ggml.eot_token_id": 10}
    ggufs.write(folder / "data/download/init/a.gguf", "gpt2", values, {})
    made = Tokenizer.load(run(folder, "init", None) / "bpe")
    assert (made.encode("Line"), made.end_of_text) == ([76, 105, 110, 101], 256)
    assert made.ends == {256, 10}


def test_too_great_a_vocabulary_is_refused(folder):
    with pytest.raises(UserError, match="vocab_size 9999"):
        run(folder, "bpe", 9999)
