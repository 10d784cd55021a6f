"""The content of the work tree now, by DVC's hashes. Every byte is read: DVC itself takes a file of
unchanged size and time for unchanged.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from llmill.comparison.cache import folder_hash
from llmill.comparison.stage_runs import StageRun, producer
from llmill.contract.ownership import md5_file


def md5(path: str) -> str | None:
    """Return DVC's hash of a file, or of the files in a folder that DVC does not ignore; None if
    nothing is there.
    """
    if Path(path).is_file():
        return md5_file(Path(path))
    if not Path(path).is_dir():
        return None
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    whole = Path(path).absolute()
    names = DvcIgnoreFilter(localfs, str(Path.cwd())).find(localfs, str(whole))
    files = {Path(name).relative_to(whole).as_posix(): Path(name) for name in names}
    return folder_hash({name: md5_file(file) for name, file in files.items()})


def is_ignored(path: str) -> bool:
    """Return whether DVC ignores a file."""
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    known = DvcIgnoreFilter(localfs, str(Path.cwd()))
    return bool(known.is_ignored_file(str(Path(path).absolute())))


def edited(
    lock: Mapping[str, StageRun], among: Callable[[str], bool] = lambda path: True
) -> list[str]:
    """Return the paths that no stage makes and whose content is not the one that the stages in
    `dvc.lock` read. A file in such a folder is named by the folder. Takes as long as reading those
    for which `among` is true.
    """
    read: dict[str, set[str]] = {}
    for run in lock.values():
        for path, known in run.deps.items():
            read.setdefault(path, set()).add(known)
    given = sorted(path for path in read if producer(lock, path) is None)
    folders = [f"{path}/" for path in given]
    outer = [path for path in given if not any(path.startswith(folder) for folder in folders)]
    return [path for path in outer if among(path) and read[path] != {md5(path)}]
