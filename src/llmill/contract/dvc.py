"""Check DVC's own settings, and ask DVC about stages whose records disagree with the present files.

`dvc commit` accepts an edit as one that changes nothing: it writes the new hashes into `dvc.lock`
and leaves the results as they are. Their records then still name the earlier files.
"""

import configparser
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from platformdirs import site_config_dir, user_config_dir

from llmill.contract.errors import UserError

OWN = {"": Path(".dvc/config"), " --local": Path(".dvc/config.local")}


def refuse_hard_links() -> None:
    """Raise `UserError` if DVC's cache uses hard links. Hard-linked files are read-only, and a
    record that DVC restores keeps its old time, so Snakemake takes stale results for new ones.
    """
    kinds, where, level = "", Path(), ""
    for option, file in _configs():  # a later one wins
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, ValueError, OSError):
            continue  # DVC reports what is wrong with it
        if parser.has_option("cache", "type"):
            kinds, where, level = parser.get("cache", "type"), file, option
    if "hardlink" in kinds:
        raise UserError(
            f"{where}: cache.type has hardlink, with which Snakemake cannot tell what is stale; "
            f"`dvc config{level} cache.type reflink,symlink,copy`, then `dvc checkout --relink`"
        )


def _configs() -> Iterator[tuple[str, Path]]:
    """Yield DVC's files of settings and the options that name them: those of the machine and of the
    user, then the repository's.
    """
    # As `dvc.dirs` finds them, whose import takes as long as all else that Snakemake does first.
    system = os.getenv("DVC_SYSTEM_CONFIG_DIR") or site_config_dir("dvc", "iterative")
    user = os.getenv("DVC_GLOBAL_CONFIG_DIR") or user_config_dir("dvc", "iterative")
    yield " --system", Path(system, "config")
    yield " --global", Path(user, "config")
    yield from OWN.items()


@functools.cache
def changed() -> frozenset[str]:
    """Return the addresses of the stages that `dvc status` reports as changed. Takes seconds."""
    words = [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return frozenset(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"`dvc status`: {last}") from None


def accepted(stage: str) -> bool:
    """Return whether DVC accepts the stage as it is, whatever its record says."""
    return stage not in changed()
