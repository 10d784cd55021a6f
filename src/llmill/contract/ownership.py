"""Decide whose folder stands in a result's place: llmill replaces its own, but never another.

A result has a record. Snakemake removes the record before a job, seconds before DVC removes the
rest. A kill in between leaves a folder without a record; DVC's list of its files identifies it.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from llmill.contract import record, yaml_file
from llmill.contract.errors import UserError

LOCK = Path("dvc.lock")
PUBLISHED = "published.json"  # in a stage's scratch folder

STAGES = ("*", "*/*")  # folders of stages in scratch/: the address of a variant may hold a `/`


def refuse_foreign(folder: Path) -> None:
    """Raise `UserError` for a folder that llmill did not make, because it would be lost."""
    try:
        record.refuse_foreign(folder)
    except UserError as error:
        if not os.path.lexists(folder):  # another job has just removed it
            return
        if not (folder.is_dir() and _is_rest_of_result(folder)):
            raise UserError(
                f"{error}; if llmill did make it, `dvc checkout {folder}` makes it whole"
            ) from None


def _is_rest_of_result(folder: Path) -> bool:
    """Return whether every file in it is, by content, one of a known result: the one that
    `dvc.lock` names, or the last one published here, which DVC may no longer have, or not yet.
    """
    files = {file.relative_to(folder).as_posix(): file for file in record.files_under(folder)}
    for listed, hashed in (
        (listed_by_dvc(folder), md5_file),
        (listed_when_published(folder), record.sha256_file),
    ):
        if listed and all(listed.get(name) == hashed(file) for name, file in files.items()):
            return True
    return False


def note_published(scratch: Path, folder: Path) -> None:
    """Record which files were put into a result's place, in case its record gets lost."""
    outputs = record.read_json(folder / record.NAME)["outputs"]
    files = {name: each["sha256"] for name, each in outputs.items()}
    record.write_json(scratch / PUBLISHED, {"result": folder.as_posix(), "files": files})


def listed_when_published(folder: Path) -> dict[str, str]:
    """Return names and hashes of the published files; empty if nothing was recorded."""
    for depth in STAGES:
        for file in record.SCRATCH.glob(f"{depth}/{PUBLISHED}"):
            published = record.read_json(file)
            if published["result"] == folder.as_posix():
                return dict(published["files"])
    return {}


def is_in_dvc(folder: Path, record_md5: str) -> bool:
    """Return whether the result that DVC has for this folder is the one with this record."""
    return listed_by_dvc(folder).get(record.NAME) == record_md5


def listed_by_dvc(folder: Path) -> dict[str, str]:
    """Return names and hashes of a result's files, by DVC's own list in its cache."""
    hashes = [out["md5"] for out in _outs() if out.get("path") == folder.as_posix()]
    if not hashes:
        return {}
    from dvc.repo import Repo

    with Repo() as repo:
        file = Path(repo.cache.local.oid_to_path(hashes[0]))
    if not file.exists():
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(file.read_text())}


def _outs() -> list[dict[str, Any]]:
    if not LOCK.exists():
        return []
    stages = (yaml_file.load(LOCK, "") or {}).get("stages", {})
    return [out for entry in stages.values() for out in entry.get("outs", [])]


def md5_file(file: Path) -> str:
    """Return the MD5 hash of a file, by which DVC names it."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "md5").hexdigest()
