"""Memory and speed of stage prepare's text processing as the corpus grows, compared with datatrove
and text-dedup.

python benchmarks/preparing.py --data ../shared/data
"""

import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer
import yaml
from children import CHILDREN
from rich.console import Console
from rich.table import Table

from llmill.contract.parts import Parts
from llmill.contract.progress import in_silence
from llmill.stages.prepare import text_parts, work_folder, write_text
from llmill.stages.settings.prepare import Prepare
from llmill.text.corpus import documents, parquet
from llmill.text.corpus.cleaning import Cleaned
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.documents import Document
from llmill.text.corpus.intake import text_files
from llmill.text.corpus.spool import Spool

SCALES = (1, 4, 16)  # copies of the corpus
SEED = 0
WORD = re.compile(r"[A-Za-z]+")
NOVELS, PASSAGES = "novels, cut into passages", "passages in parquet"
DATATROVE = Path(__file__).with_name("datatrove_minhash.py")
Measured = dict[str, float]  # MiB at the peak, CPU seconds, documents kept


def passages(data: Path, settings: Prepare) -> list[Document]:
    """Read the novels as the stage does."""
    files = sorted(data.glob("pretrain/gutenberg/*.txt"))
    if not files:
        sys.exit(f"{data}: no pretrain/gutenberg/*.txt; give --data or LLMILL_MIRROR")
    return list(documents.read(files, "books", "gutenberg", settings.passage_words))


def altered(texts: list[str], copy: int) -> Iterator[str]:
    """Replace each word of the texts consistently by another one. Word frequencies keep their
    distribution, and no passage resembles one of another copy. Copy 0 is unchanged.
    """
    words = sorted({word for text in texts for word in WORD.findall(text)})
    others = words.copy()
    random.Random(SEED + copy).shuffle(others)
    instead = dict(zip(words, others, strict=True)) if copy else {}
    return (WORD.sub(lambda word: instead.get(word[0], word[0]), text) for text in texts)


def make(folder: Path, passages: list[Document], copies: int) -> None:
    """Write what stage download leaves in role text, as parquet, with one file per copy."""
    (folder / "books").mkdir(parents=True)
    for copy in range(copies):
        texts = altered([passage.text for passage in passages], copy)
        made = [Document(text, "books", "") for text in texts]
        parquet.write(folder / "made", made, len(made))
        shutil.move(folder / "made/00000.parquet", folder / f"books/{copy:02d}.parquet")
        (folder / "made").rmdir()
    files = [{"path": f"books/{copy:02d}.parquet"} for copy in range(copies)]
    entry = {"name": "books", "format": "documents", "files": files}
    (folder / "sources.json").write_text(json.dumps([entry]))


def novels(folder: Path, data: Path) -> None:
    """Write what stage download leaves in role text, with the novels as they are published."""
    shutil.copytree(data / "pretrain/gutenberg", folder / "books")
    files = [{"path": f"books/{file.name}"} for file in sorted(folder.glob("books/*.txt"))]
    entry = {"name": "books", "format": "gutenberg", "files": files}
    (folder / "sources.json").write_text(json.dumps([entry]))


def llmill(raw: Path, out: Path, settings: Prepare, evaluation: list[str]) -> Measured:
    """Process the texts as the stage does, in this process."""
    before = time.process_time()
    wanted, store = EvaluationTexts(evaluation, settings.contamination), Parts(out / "parts", "")
    files = text_files(raw)
    with work_folder(out / "work") as folder, Spool(folder / "spool") as spool:
        parts = text_parts(files, settings, wanted)
        made = [(f.entry["name"], store.made(p)) for f, p in zip(files, parts, strict=True)]
        cleaned = Cleaned(made, settings.near_duplicates, spool, folder)
        job = SimpleNamespace(out=out, progress=lambda unit: in_silence)
        write_text(cleaned, settings, folder, job)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    took = time.process_time() - before
    return {"MiB": usage.ru_maxrss / 1024, "s": took, "kept": cleaned.n_kept}


def measured(work: Callable[..., Measured], *words: object) -> Measured:
    """Run the work in a new process (see `children.py`), and return its result."""
    here, there = CHILDREN.Pipe()
    child = CHILDREN.Process(target=answer, args=(there, work, *words))
    child.start()
    there.close()
    found: Measured = here.recv()
    child.join()
    return found


def answer(to: Connection, work: Callable[..., Measured], *words: object) -> None:
    """Send the result of the work."""
    to.send(work(*words))


def datatrove(python: Path, raw: Path, out: Path) -> Measured:
    """Remove near duplicates only, with datatrove's own steps, in an interpreter that has it."""
    shutil.rmtree(out, ignore_errors=True)
    command = [str(python), str(DATATROVE), str(raw / "books"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python}: datatrove failed: {done.stderr.strip().splitlines()[-1]}")
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def text_dedup(python: Path, raw: Path, out: Path) -> Measured:
    """Remove near duplicates only, with text-dedup's command in one process, start included."""
    shutil.rmtree(out, ignore_errors=True)
    options = {
        "path": "parquet", "data_files": str(raw / "books/*.parquet"), "split": "train",
        "cache_dir": str(out / "cache"), "output": str(out / "text"), "column": "text",
        "ngram": 5, "threshold": 0.8, "num_perm": 128, "hash_func": "xxh3", "hash_bits": 32,
        "num_proc": 1,
    }  # fmt: skip
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [str(python), "-m", "text_dedup.minhash", *words]
    log = out.with_suffix(".log")
    with log.open("w") as file:
        wide = {**os.environ, "COLUMNS": "200"}  # keeps its last number on the same line
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=wide)
        _, status, usage = os.wait4(child.pid, 0)
    said = log.read_text()
    if status:
        sys.exit(f"{python}: text-dedup failed: {said.strip().splitlines()[-1]}")
    kept = re.findall(r"After\s*:\s*(\d+)", said)
    seconds = usage.ru_utime + usage.ru_stime
    return {"MiB": usage.ru_maxrss / 1024, "s": seconds, "kept": float(kept[-1]) if kept else -1}


def size(raw: Path) -> float:
    """Return the MB of text in a corpus."""
    files = sorted((raw / "books").iterdir())
    if files[0].suffix == ".txt":
        return sum(file.stat().st_size for file in files) / 1e6
    return sum(len(text.encode()) for file in files for text in parquet.texts(file)) / 1e6


def main(
    data: Annotated[
        Path, typer.Option(envvar="LLMILL_MIRROR", help="Folder with pretrain/gutenberg.")
    ],
    rounds: Annotated[int, typer.Option(help="Rounds, whose medians it prints.")] = 3,
    datatrove_python: Annotated[
        Path | None, typer.Option(help="A Python interpreter with datatrove[processing].")
    ] = None,
    text_dedup_python: Annotated[
        Path | None, typer.Option(help="A Python interpreter with text-dedup.")
    ] = None,
    largest: Annotated[int, typer.Option(help="Most copies of the corpus.")] = 16,
    peers_largest: Annotated[int, typer.Option(help="Most copies for the peers.")] = 4,
) -> None:
    """Print a line for each corpus and competitor."""
    peers = (
        ("datatrove", datatrove_python, datatrove),
        ("text-dedup", text_dedup_python, text_dedup),
    )
    settings = Prepare(**yaml.safe_load(Path("presets/world.yaml").read_text())["prepare"])
    tasks = json.loads((data / "instruct/instruction-data.json").read_text())
    evaluation = [f"{task['instruction']}\n{task['input']}" for task in tasks]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        corpora = {f"{NOVELS}, 1x": folder / "novels"}
        novels(folder / "novels", data)
        found = passages(data, settings)
        for copies in filter(lambda copies: copies <= largest, SCALES):
            corpora[f"{PASSAGES}, {copies}x"] = folder / f"{copies}x"
            make(folder / f"{copies}x", found, copies)
        del found
        results: dict[tuple[str, str], list[Measured]] = {}
        for _ in range(rounds):
            for corpus, raw in corpora.items():
                shutil.rmtree(folder / "out", ignore_errors=True)
                own = measured(llmill, raw, folder / "out", settings, evaluation)
                results.setdefault((corpus, "llmill"), []).append(own)
                for by, python, work in peers:
                    if (
                        python
                        and PASSAGES in corpus
                        and len(list(raw.glob("books/*"))) <= peers_largest
                    ):
                        other = measured(work, python, raw, folder / "peer")
                        results.setdefault((corpus, by), []).append(other)
        show(results, {corpus: size(raw) for corpus, raw in corpora.items()})


def show(results: dict[tuple[str, str], list[Measured]], sizes: dict[str, float]) -> None:
    """Print a table of medians over the rounds."""
    table = Table("corpus", "MB", "by", "documents kept", "peak MiB", "MB per CPU second")
    for (corpus, by), all_rounds in results.items():
        middle = {key: statistics.median(each[key] for each in all_rounds) for key in all_rounds[0]}
        speed = f"{sizes[corpus] / middle['s']:.2f}"
        table.add_row(
            corpus,
            f"{sizes[corpus]:.1f}",
            by,
            f"{middle['kept']:.0f}",
            f"{middle['MiB']:.0f}",
            speed,
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
