"""Explain why DVC sees a stage as changed: one line for each thing that changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.elsewhere import quoted

if TYPE_CHECKING:
    from dvc.output import Output

MISSING = object()


def of_parameters(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return each value that differs: `judge.bootstrap 200, now 210`."""
    old, new = record.flat(before), record.flat(now)
    names = [name for name in old | new if old.get(name, MISSING) != new.get(name, MISSING)]
    return [_changed(name, old, new) for name in names]


def of_code(before: Any, now: Any) -> list[str]:
    """Return each module, table and package that differs between two files of stage `code`, if they
    have the present form.
    """
    if not (_is_code(before) and _is_code(now)):
        return ["its code changed; what it was is not known"]
    reasons = []
    for part in ("modules", "tables"):
        old, new = before[part], now[part]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                what = "added" if name not in old else "changed" if name in new else "removed"
                reasons.append(f"{name} {what}")
    old, new = before["packages"], now["packages"]
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return reasons + [_changed(name, old, new, quote=str) for name in names]


def of_output(out: Output) -> list[str]:
    """Return what is wrong with a stage's folder, if anything is."""
    status = out.status().get(str(out))
    if status is None:
        return []
    if status == "not in cache":
        return [f"{out}: {'' if out.exists else 'missing, and '}not in DVC's cache"]
    if status == "deleted":
        return [f"{out}: missing"]
    return _edited(out) or [f"{out}: {status}"]


def _edited(out: Output) -> list[str]:
    """Return the files of a folder that are not those that DVC put there."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.tree import Tree

    old = out.get_obj()
    ignore = out.dvcignore
    _, _, new = build(out.cache, out.fs_path, out.fs, "md5", ignore=ignore, dry_run=True)
    if not (isinstance(old, Tree) and isinstance(new, Tree)):
        return []
    before, now = ({key: info for key, _, info in tree} for tree in (old, new))
    reasons = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            what = "added" if key not in before else "edited" if key in now else "missing"
            reasons.append(f"{Path(str(out), *key)} {what}")
    return reasons


def _is_code(value: Any) -> bool:
    parts = ("modules", "tables", "packages")
    return isinstance(value, dict) and all(isinstance(value.get(part), dict) for part in parts)


def _written(value: Any) -> str:
    """Return a value as `params.yaml` has it: `null`, not `None`."""
    return json.dumps(value) if value is None or isinstance(value, bool) else quoted(value)


def _changed(name: str, old: dict[str, Any], new: dict[str, Any], quote: Any = _written) -> str:
    if name not in old:
        return f"{name} {quote(new[name])}, not there before"
    return f"{name} {quote(old[name])}, now {quote(new[name]) if name in new else 'not there'}"
