"""`llmill STAGE [VARIANT]` runs a stage, and so does `python -m llmill STAGE [VARIANT]`. The other
commands are in `commands.py` and `model_commands.py`.

Every command reads `params.yaml` and `dvc.yaml` in the current folder.
"""

import errno
import gc
import importlib
import importlib.util
import os
import pkgutil
import sys
from typing import Annotated

import typer

from llmill import model_commands  # noqa: F401, which adds its commands
from llmill.commands import app
from llmill.contract import disk, openmp, printable, source
from llmill.contract.errors import Stopped, UserError
from llmill.runner import launcher, streams

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)  # nothing can have such a name


def stage_names() -> list[str]:
    """Return the modules of `llmill.stages`: a stage is named like its module."""
    package = importlib.import_module("llmill.stages")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg)


def _add_stage(name: str) -> None:
    @app.command(name, help=f"Run stage {name}.", rich_help_panel="Stages")
    def stage(
        variant: Annotated[
            str | None,
            typer.Argument(
                help="Variant, e.g. instruct, of a stage that dvc.yaml lists several times."
            ),
        ] = None,
        resume_anyway: Annotated[
            bool, typer.Option(help="Continue a run that other code started.")
        ] = False,
    ) -> None:
        from llmill.runner.stage import execute

        streams.outlive()
        execute(
            lambda: importlib.import_module(f"llmill.stages.{name}"), name, variant, resume_anyway
        )


for _name in stage_names():
    _add_stage(_name)


@app.command(rich_help_panel="Stages")
def part(
    stage: Annotated[str, typer.Argument(help="A stage whose work has parts.")],
    share: Annotated[str, typer.Argument(help="Share of the parts, e.g. 3-of-8.")],
) -> None:
    """Do a share of a stage's work in advance. Snakemake calls this (--set-scatter)."""
    from llmill.runner.part import make_parts

    streams.outlive()
    make_parts(stage, share)


def main() -> None:
    """Run a command. A user's mistake prints one line and exits with code 1. A signal exits with
    128 plus its number.
    """
    # Imports make a million objects that stay; scanning them takes a seventh of a start.
    gc.set_threshold(50_000)
    source.run_from_here()
    openmp.share_cores()
    streams.survive()
    try:
        launcher.run_to_the_end(_answer)
    finally:
        streams.finish()
        gc.freeze()  # else Python scans them at exit: a second with torch and MLflow


def _answer() -> None:
    try:
        app()
    except UserError as error:
        sys.exit(printable.error(f"llmill: {error}"))
    except OSError as error:
        sys.exit(printable.error(f"llmill: {_what_the_disk_said(error)}"))
    except Stopped as stopped:
        if not launcher.launcher_reports():
            print(f"llmill: {stopped}", file=sys.stderr, flush=True)
        sys.exit(128 + stopped.signum)


def _what_the_disk_said(error: OSError) -> str:
    """Explain a full disk, one without write permission (another's clone, a read-only medium), and
    a name that no file can have.
    """
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    if error.errno in disk.FULL:
        return where + disk.SAID
    if error.errno in READ_ONLY and where:
        return f"{where}{error.strerror}; work in a clone of your own"
    if error.errno in NO_NAME and where:
        return f"{where}{error.strerror}"
    raise error


if __name__ == "__main__":
    main()
