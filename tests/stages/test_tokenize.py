import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from llmill.contract.errors import UserError
from llmill.contract.parts import Part, Parts
from llmill.contract.record import files_under, sha256_file
from llmill.stages import tokenize
from llmill.stages.settings.tokenize import Tokenize
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.conftest import ROOT, preset
from tests.jobs import Job
from tests.stages.counting import counting, counts
from tests.waiting import ended, until

WORLD = preset("world")
BYTES = Tokenizer({bytes([b]): b for b in range(256)})
TEXTS = {"train": [f"train {i} é" for i in range(50)], "validate": ["held <|endoftext|> out"]}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for split, texts in TEXTS.items():
        documents = [Document(text, ("even", "odd")[i % 2], str(i)) for i, text in enumerate(texts)]
        parquet.write(tmp_path / "data/prepare/text" / split, documents, 20)
    BYTES.save(tmp_path / "data/tokenizer/bpe")
    return tmp_path


def run(folder: Path, processes: int) -> Path:
    out = folder / f"out{processes}"
    settings = Tokenize(processes=processes)
    tokenize.run(tokenize.Parameters(tokenize=settings), Job(out))
    return out


def test_the_shards_hold_the_documents_in_order(folder):
    out = run(folder, 1)
    for split, texts in TEXTS.items():
        loaded = Shards.load(out / split)
        expected = [i for text in texts for i in [*text.encode(), 256]]
        assert loaded.window(0, loaded.tokens).tolist() == expected
        assert loaded.documents == len(texts)
    assert [p.name for p in sorted((out / "train").glob("*.bin"))] == [
        "00000.bin",
        "00001.bin",
        "00002.bin",
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["validate"]["tokens"] == 23
    assert metrics["train"]["shards"] == 3


def test_the_source_of_every_document_is_kept(folder):
    loaded = Shards.load(run(folder, 1) / "train")
    assert loaded.sources == ["even", "odd"]
    assert loaded.source.tolist() == [i % 2 for i in range(50)]


def test_a_shard_without_documents_is_left_out(folder):
    shard = folder / "data/prepare/text/train/00001.parquet"
    pq.write_table(pq.read_table(shard).slice(0, 0), shard)
    loaded = Shards.load(run(folder, 1) / "train")
    assert (loaded.documents, len(loaded.parts)) == (30, 2)
    assert loaded.window(0, 6).tolist() == [*b"train "]


def test_the_number_of_processes_changes_no_byte(folder):
    one, three = run(folder, 1), run(folder, 3)
    names = [p.relative_to(one) for p in files_under(one)]
    assert [p.relative_to(three) for p in files_under(three)] == names
    assert [sha256_file(one / n) for n in names] == [sha256_file(three / n) for n in names]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("processes", [1, 2])
def test_the_stage_takes_shards_that_another_job_has_encoded(folder, processes):
    ahead = Job(folder / "ahead")
    params = tokenize.Parameters(tokenize=Tokenize(processes=processes))
    parts = tokenize.parts(params, ahead)
    assert [(part.made_of["split"], part.made_of["name"]) for part in parts] == [
        ("train", "00000"),
        ("train", "00001"),
        ("train", "00002"),
        ("validate", "00000"),
    ]
    alone = run(folder, 3)
    shutil.rmtree(ahead.parts.folder)
    made = ahead.parts.made(parts[1])
    entry = json.loads((made / "entry.json").read_text())
    (made / "entry.json").write_text(json.dumps({**entry, "text_bytes": 1000}))
    out = run(folder, processes)
    index = json.loads((out / "train/index.json").read_text())
    assert [shard["text_bytes"] for shard in index["shards"]] == [210, 1000, 110]
    names = {p.relative_to(alone) for p in files_under(alone)}
    assert {p.relative_to(out) for p in files_under(out)} == names


def test_an_edit_of_the_result_does_not_change_a_part(folder):
    """The next run takes a part as it is, if DVC did not get the result that was made from it."""
    job = Job(folder / "out")
    params = tokenize.Parameters(tokenize=Tokenize(processes=1))
    tokenize.run(params, job)
    made = job.parts.made(tokenize.parts(params, job)[0])
    before = [sha256_file(file) for file in files_under(made)]
    for file in files_under(job.out / "train"):
        with file.open("r+b") as opened:
            opened.write(b"edited")
    assert [sha256_file(file) for file in files_under(made)] == before


@pytest.mark.parametrize("processes", [1, 2])
def test_the_shards_are_counted(folder, processes, monkeypatch, capsys):
    params = tokenize.Parameters(tokenize=Tokenize(processes=processes))
    tokenize.run(params, counting(Job(folder / "out"), monkeypatch))
    found = counts(capsys.readouterr().out, "shards")
    if processes == 1:
        assert found == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found == sorted(found) and found[-1] == (4, 4)
    assert {total for _, total in found} == {4}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_truncated_parquet_shard_is_named(folder, processes):
    shard = folder / "data/prepare/text/train/00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"00001\.parquet: not a whole parquet file"):
        run(folder, processes)


def die_elsewhere(folder: Path) -> None:
    """What becomes of a process that the system kills for its memory."""
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    until(lambda: not multiprocessing.active_children())


def test_a_process_that_was_killed_is_one_line(tmp_path):
    work = [Part({"number": n}, die_elsewhere) for n in range(2)]
    with pytest.raises(
        UserError, match="a process ended early, most likely for want of memory; lo"
    ):
        list(tokenize.in_parallel(Parts(tmp_path / "parts", "code"), work, 2))


def test_a_missing_tokenizer_is_said(folder):
    (folder / "data/tokenizer/bpe/tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json: missing"):
        run(folder, 1)


HANGS = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from llmill.stages.tokenize import end_with_parent
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, initializer=end_with_parent)
    pool.submit(int).result()
    print(*pool._processes, flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_when_the_stage_is_killed(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(HANGS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    stage = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    )
    worker = psutil.Process(int(stage.stdout.readline()))
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    for _ in range(600):
        if ended(worker):
            break
        time.sleep(0.1)
    assert ended(worker)
