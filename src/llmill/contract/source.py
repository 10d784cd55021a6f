"""Make sure that the running code is that of the working folder, which is the code that DVC hashes.

An environment's editable install names one clone. In another clone, or in the copy that `dvc exp
run --temp` works in, Python would still import llmill from the first.
"""

import os
import shlex
import sys
from pathlib import Path

import llmill
from llmill.contract.errors import UserError

HERE = Path("src/llmill")
STARTED_ANEW = "LLMILL_STARTED_ANEW"  # the folder, so that it happens once


def run_from_here() -> None:
    """Start this command anew with the source of the working folder, if that has its own."""
    if not HERE.is_dir() or _is_here() or os.environ.get(STARTED_ANEW) == os.getcwd():
        return
    path = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    os.environ[STARTED_ANEW] = os.getcwd()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def refuse_other_source() -> None:
    """Raise `UserError` unless llmill was imported from `src` of the working folder."""
    if not _is_here():
        raise UserError(
            "llmill was imported from another folder than ./src, whose code DVC hashes; "
            + in_root("work in the root of the repository")
        )


def in_root(otherwise: str) -> str:
    """Return what to do if a file of the repository's root is missing: go to the root, if it is
    above the working folder, else `otherwise`.
    """
    here = Path.cwd()
    root = next((f for f in (here, *here.parents) if _is_root(f)), here)
    if root == here:
        return otherwise
    return f"the root of the repository is above this folder: `cd {shlex.quote(str(root))}` first"


def _is_root(folder: Path) -> bool:
    return (folder / "dvc.yaml").is_file() and (folder / HERE).is_dir()


def _is_here() -> bool:
    return HERE.resolve() == Path(llmill.__file__).resolve().parent
