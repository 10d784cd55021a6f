"""The files: their names, their formats, and the same bytes every time."""

import csv
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from llmill.contract.known import NEWS, WORLD
from llmill.world import LEVELS, write
from llmill.world.settings import World

SMALL = {"seed": 3, "repeats": 2, "messages": 200, "instructions": 200, "questions": 8}
SMOKE = {"seed": 1, "repeats": 1, "messages": 300, "instructions": 250, "questions": 4}
SMOKE_HASHES = Path(__file__).parent / "smoke.sha256"  # as sha256sum writes them
PRINT_DIGEST = """
import sys; from pathlib import Path; from llmill.world import write
from llmill.world.settings import World
write(Path(sys.argv[1]), World(**{settings}), ("world", "news"))
"""


def digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    whole = b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)
    return sha256(whole).hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """The hash of each file by its path."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {f.relative_to(folder).as_posix(): sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("sources", [(WORLD,), (WORLD, NEWS), (NEWS, WORLD)])
def test_news_changes_no_byte_of_the_world(tmp_path, sources):
    """Models are compared over time, so whoever changes the world changes the hashes on purpose."""
    lines = SMOKE_HASHES.read_text().splitlines()
    expected = {path: digest for digest, path in (line.split("  ") for line in lines)}
    write(tmp_path, World(**SMOKE), sources)
    found = hashes(tmp_path)
    if NEWS in sources:
        more = {path for path in found if path not in expected}
        assert {path.split("/")[0] for path in more} == {"text", "mmlu"}
        found = {path: digest for path, digest in found.items() if path not in more}
        for both in ("mmlu/levels.json", "mmlu/entities.json"):
            del found[both], expected[both]
    assert found == expected


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(tmp_path):
    code = PRINT_DIGEST.replace("{settings}", repr(SMALL))
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment
        )
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_another_seed_writes_other_bytes(tmp_path):
    write(tmp_path / "a", World(**SMALL))
    write(tmp_path / "b", World(**{**SMALL, "seed": 4}))
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


def test_a_small_world_has_every_file(tmp_path):
    write(tmp_path, World(**SMALL))
    for split in ("dev", "val", "test"):
        names = {file.name for file in (tmp_path / "mmlu" / split).iterdir()}
        assert names == {f"{subject}_{split}.csv" for subject in LEVELS[WORLD]}
    assert (tmp_path / "text/world/geography.txt").stat().st_size > 10_000
    lines = (tmp_path / "classification/SMSSpamCollection").read_text(encoding="utf-8")
    assert lines.count("\n") == 200


def test_a_question_file_has_six_fields_a_row_and_no_header(world):
    for file in sorted((world / "mmlu").glob("*/*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        assert rows and all(len(row) == 6 and row[5] in "ABCD" for row in rows), file


def test_the_levels_are_written_beside_the_questions(world):
    levels = json.loads((world / "mmlu/levels.json").read_text(encoding="utf-8"))
    assert levels == LEVELS[WORLD] | LEVELS[NEWS]


def test_news_alone_leaves_the_text_of_the_world_out_and_its_questions_in(tmp_path):
    write(tmp_path, World(**SMALL), (NEWS,))
    texts = {f.relative_to(tmp_path / "text").as_posix() for f in tmp_path.glob("text/*/*")}
    files = ("cinema", "questions", "regions", "sports")
    assert texts == {f"news/{name}.txt" for name in files}
    names = {file.name for file in (tmp_path / "mmlu/test").iterdir()}
    assert names == {f"{subject}_test.csv" for subject in LEVELS[WORLD] | LEVELS[NEWS]}
