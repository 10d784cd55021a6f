"""The state a training resumes from: written whole, counted only with its marker, the newest two
kept.

`<step>.pt` holds the tensors, `<step>.json`, written after it, its hash. The folder is private
scratch, never shared.
"""

import io
from pathlib import Path
from typing import Any

import torch

from llmill.contract import record

KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a state; older ones than the newest two go only when this one is complete on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    file = folder / f"{step:09d}.pt"
    record.write_bytes(file, buffer.getvalue())
    record.write_json(file.with_suffix(".json"), {"step": step, "sha256": record.sha256_file(file)})
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".pt").unlink(missing_ok=True)


def newest(folder: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest whole state, or None; and the damaged files that were passed over."""
    damaged = []
    for marker in sorted(folder.glob("*.json"), reverse=True):
        file = marker.with_suffix(".pt")
        if file.exists() and record.sha256_file(file) == record.read_json(marker)["sha256"]:
            return torch.load(file, map_location="cpu", weights_only=True), damaged
        damaged.append(file)
    return None, damaged
