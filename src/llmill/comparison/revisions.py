"""A state of the repository, read without touching the work tree: a commit, a DVC experiment (whose
name is that of a git ref), or the work tree itself.
"""

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmill.contract.errors import UserError

WORKSPACE = "workspace"  # DVC's name of the work tree
EXPERIMENTS = "refs/exps"
OF_DVC = "dvc: commit experiment "  # how an experiment's message begins
OF_THE_QUEUE = ("apply", "celery", "exec", "stash", "temp")  # what DVC keeps beside the experiments


@dataclass(frozen=True)
class Revision:
    """A revision. `commit`: its hash, or None for the work tree."""

    name: str
    commit: str | None

    @property
    def title(self) -> str:
        """The name that was asked for, and its commit."""
        short = self.commit and self.commit[:7]
        return f"{self.name} ({short})" if short and short != self.name else self.name

    @property
    def subject(self) -> str:
        """The first line of the commit's message. An experiment has none of its own; it has the
        commit that it began from.
        """
        if self.commit is None:
            return "the work tree"
        line, began = (_git("log", "-1", "--format=%s%n%p", self.commit).splitlines() + [""] * 2)[
            :2
        ]
        return f"experiment from {began}" if line.startswith(OF_DVC) else line

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if there is none; its path is relative to the working
        folder.
        """
        if self.commit is None:
            return Path(path).read_bytes() if Path(path).is_file() else None
        done = _run("cat-file", "blob", f"{self.commit}:./{path}")
        return done.stdout if done.returncode == 0 else None

    @contextmanager
    def source(self) -> Iterator[Path]:
        """Yield a folder with the revision's `src`, if it has one, until the context ends."""
        if self.commit is None:
            yield Path.cwd()
            return
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder, "source.tar")
            done = _run("archive", "--format=tar", f"--output={packed}", self.commit, "src")
            if done.returncode == 0:
                with tarfile.open(packed) as archive:
                    if hasattr(tarfile, "data_filter"):  # in Python 3.11 since 3.11.4
                        archive.extraction_filter = tarfile.data_filter
                    archive.extractall(folder)
            yield Path(folder)


def find(name: str) -> Revision | None:
    """Return the revision or experiment with a name, or None if git knows none.

    Raises `UserError` if several experiments have the name.
    """
    if name == WORKSPACE:
        return Revision(name, None)
    _git("rev-parse", "--git-dir")
    done = _run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode == 0:
        return Revision(name, done.stdout.decode().strip())
    experiments = [(commit, ref) for commit, ref in _experiments() if ref[-1] == name]
    if len(experiments) > 1:
        head = _run("rev-parse", "--verify", "--quiet", "HEAD").stdout.decode().strip()
        of_head = [(commit, ref) for commit, ref in experiments if "".join(ref[2:4]) == head]
        if len(of_head) != 1:
            commits = ", ".join(commit[:7] for commit, _ in experiments)
            raise UserError(f"{name}: several experiments have this name; use a commit: {commits}")
        experiments = of_head
    return Revision(name, experiments[0][0]) if experiments else None


def _experiments() -> Iterator[tuple[str, list[str]]]:
    """Yield each experiment's commit and the parts of its ref: refs, exps, two parts of the commit
    that it began from, its name.
    """
    for line in _git("for-each-ref", "--format=%(objectname) %(refname)", EXPERIMENTS).splitlines():
        commit, _, ref = line.partition(" ")
        parts = ref.split("/")
        if len(parts) == 5 and parts[2] not in OF_THE_QUEUE:
            yield commit, parts


def _git(*words: str) -> str:
    done = _run(*words)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
        raise UserError(f"git: {said[0].removeprefix('fatal: ')}")
    return done.stdout.decode(errors="replace")


def _run(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], capture_output=True, check=False)
