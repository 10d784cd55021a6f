"""The states from which training resumes. A state counts only with its marker, which is written
last. It is removed only after a newer state was read back with the hashes of its marker.

`<step>/` holds the tensors, as torch.distributed.checkpoint writes them, whole or sharded over
processes; the marker `<step>.json` holds the hash of each of these files and the progress of the
run. The folder is private scratch and is never shared.
"""

import os
import shutil
import warnings
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from llmill.contract import processes, record
from llmill.contract.errors import UserError
from llmill.training import parallel
from llmill.training.optimizer import Optimizers
from llmill.training.progress import Row, TrainingProgress

KEPT = 2

warnings.filterwarnings("ignore", "torch.distributed is (disabled|unavailable|uninit)")


def save(
    folder: Path, model: nn.Module, optimizers: Optimizers, progress: TrainingProgress
) -> None:
    """Write a state. All processes of a training call this together. Raises `UserError` if the
    state cannot be written or read back.
    """
    name = f"{progress.step:09d}"
    temporary, marker = folder / f"{name}.tmp", folder / f"{name}.json"
    try:
        if processes.main():
            folder.mkdir(parents=True, exist_ok=True)
            marker.unlink(missing_ok=True)
            for left in (temporary, folder / name):
                shutil.rmtree(left, ignore_errors=True)
        parallel.wait()
        writer = dcp.FileSystemWriter(temporary, sync_files=True)
        dcp.save(_tensors(model, optimizers), storage_writer=writer, no_dist=parallel.alone())
        if processes.main():
            temporary.rename(folder / name)
            files = {p.name: record.sha256_file(p) for p in record.files_under(folder / name)}
            record.write_json(marker, {"files": files, "progress": asdict(progress)})
            _remove_all_but_newest(folder, folder / name)
    except (OSError, dcp.api.CheckpointException) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(_not_saved(folder, error)) from None
    parallel.wait()


def newest(folder: Path) -> tuple[Path | None, list[Path]]:
    """Return the newest intact state, or None, and the damaged states that were skipped. Only the
    first process looks, so that all processes use the same state.
    """
    return parallel.from_first(_newest, folder)


def _newest(folder: Path) -> tuple[Path | None, list[Path]]:
    damaged: list[Path] = []
    for state in _states(folder):
        if _whole(state):
            return state, damaged
        damaged.append(state)
    return None, damaged


def restore(state: Path, model: nn.Module, optimizers: Optimizers) -> TrainingProgress:
    """Load a state in place, for the present number of processes, and return its progress."""
    tensors = _tensors(model, optimizers)
    reader = dcp.FileSystemReader(state)
    dcp.load(tensors, storage_reader=reader, no_dist=parallel.alone())
    set_state_dict(
        model,
        optimizers,
        model_state_dict=tensors["model"],
        optim_state_dict=tensors["optimizers"],
    )
    return TrainingProgress(**record.read_json(_marker(state))["progress"])


def curves(folder: Path) -> list[list[Row]]:
    """Return the curve of each saved state."""
    return [record.read_json(_marker(state))["progress"]["curve"] for state in _states(folder)]


def last_good(folder: Path) -> str:
    """Return the state from which training can continue, as text for an error message."""
    state, _ = _newest(folder)
    return f"last good state {state}" if state else "no state was saved before"


def _tensors(model: nn.Module, optimizers: Optimizers) -> dict[str, Any]:
    weights, moments = get_state_dict(model, optimizers)
    return {"model": weights, "optimizers": moments}


def _states(folder: Path) -> list[Path]:
    """Return the states that have a marker, newest first."""
    return [marker.with_suffix("") for marker in sorted(folder.glob("*.json"), reverse=True)]


def _marker(state: Path) -> Path:
    return state.with_suffix(".json")


def _whole(state: Path) -> bool:
    """Return whether every file of a state has the hash that its marker gives."""
    try:
        files = record.read_json(_marker(state))["files"]
        return all(record.sha256_file(state / name) == sha256 for name, sha256 in files.items())
    except (OSError, UserError, KeyError, TypeError):
        return False


def _remove_all_but_newest(folder: Path, saved: Path) -> None:
    """Keep the state just saved, if the disk gives it back intact, and the newest other one that is
    intact; remove the rest.
    """
    _forget_cached(saved)
    if not _whole(saved):
        raise OSError(f"{saved} was not read back as it was written")
    others = (state for state in _states(folder) if state != saved and _whole(state))
    keep = {state.name for state in (saved, *islice(others, KEPT - 1))}
    for marker in folder.glob("*.json"):
        if marker.stem not in keep:
            marker.unlink()
    # Folders with other names are those of the stage's other trainings.
    for left in folder.glob("[0-9]*"):
        if left.is_dir() and left.name not in keep:
            shutil.rmtree(left, ignore_errors=True)


def _forget_cached(state: Path) -> None:
    """Make the next read come from the disk, on systems that support it."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in record.files_under(state):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _not_saved(folder: Path, error: BaseException) -> str:
    reason = error
    if isinstance(error, dcp.api.CheckpointException):
        reason = next(iter(error.failures.values()))[0]
    return (
        f"{folder}: the state could not be saved ({reason}); {last_good(folder)}; "
        "make room, and the same command goes on from there"
    )
