"""Stages that ran, as DVC recorded them: in `dvc.lock`, and in its run cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmill.contract.record import flat


@dataclass(frozen=True)
class StageRun:
    """A run of a stage. `deps` and `outs`: DVC's hash by path; parameters by dotted name.
    `sections`: what the stage reads of `params.yaml`, whole sections or single values.
    """

    cmd: str
    deps: Mapping[str, str]
    parameters: Mapping[str, Any]
    outs: Mapping[str, str]
    sections: tuple[str, ...] = ()


def read(entry: Any) -> StageRun | None:
    """Return one entry, or None if it does not have the form of a stage."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str):
        return None
    files = entry.get("params")
    read = [each for each in files.values() if each] if isinstance(files, dict) else []
    return StageRun(
        entry["cmd"],
        _hashes(entry.get("deps")),
        {name: value for values in read for name, value in flat(values).items()},
        _hashes(entry.get("outs")),
        tuple(name for values in read for name in values),
    )


def read_lock(tree: Any) -> dict[str, StageRun]:
    """Return the stages of a `dvc.lock`, by address."""
    entries = tree.get("stages") if isinstance(tree, dict) else None
    runs = {a: read(entry) for a, entry in (entries if isinstance(entries, dict) else {}).items()}
    return {address: run for address, run in runs.items() if run}


def producer(lock: Mapping[str, StageRun], path: str) -> str | None:
    """Return the address of the stage that makes a path."""
    return next(
        (
            address
            for address, run in lock.items()
            for out in run.outs
            if path == out or path.startswith(f"{out}/")
        ),
        None,
    )


def _hashes(listed: Any) -> dict[str, str]:
    return {
        each["path"]: str(each.get("md5") or each.get("etag") or each.get("checksum"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and "path" in each
    }
