"""DVC's repository, while no DVC command works in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from llmill.contract import elsewhere, yaml_file
from llmill.contract.errors import UserError

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def idle_repo() -> Iterator[Repo]:
    """Yield the locked repository. Raises `UserError` if DVC is at work, or cannot work.

    While the command of a stage runs, DVC holds no lock but names its process in a file. It takes
    the lock again for the result, and gives up after seconds; therefore the file is checked first.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo:
            _refuse_writers(repo)
            with lock_repo(repo):
                _refuse_writers(repo)
                yield repo
    except LockError as error:
        raise UserError(_busy(str(error))) from None
    except DvcException as error:
        raise UserError(yaml_file.one_line(f"DVC: {error}")) from None
    except FileNotFoundError as error:  # other errors of the disk are for the command to tell
        raise UserError(_unreadable(error.filename, error.strerror)) from None
    except UnicodeError as error:
        raise UserError(_unreadable(getattr(error, "object", None), "not UTF-8")) from None


def _unreadable(name: object, why: str | None) -> str:
    """Return one line for a file that DVC cannot read. Its name may be unknown."""
    here = f"{Path.cwd()}{os.sep}"
    file = "a file" if name is None else str(name).removeprefix(here)
    return f"{file}: DVC cannot read it ({why}); remove or rename it, or name it in .dvcignore"


def _refuse_writers(repo: Repo) -> None:
    from dvc.rwlock import RWLOCK_FILE

    file = Path(str(repo.tmp_dir), RWLOCK_FILE)
    if not file.exists():
        return
    for writer in elsewhere.read_object(file).get("write", {}).values():
        if psutil.pid_exists(writer["pid"]):
            raise UserError(_busy(f"PID {writer['pid']}: {writer['cmd']}"))


def _busy(who: str) -> str:
    return f"DVC is at work here; ask again when it has ended ({yaml_file.one_line(who)})"
