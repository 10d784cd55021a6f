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
    except FileNotFoundError as error:
        if not error.filename or not os.path.islink(error.filename):
            raise
        raise UserError(_unreadable(error.filename, str(error.strerror))) from None
    except UnicodeEncodeError as error:  # what could not be encoded is the name
        raise UserError(_unreadable(error.object, "not UTF-8")) from None


def _unreadable(name: str, why: str) -> str:
    file = os.fspath(name).removeprefix(f"{Path.cwd()}{os.sep}")
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
