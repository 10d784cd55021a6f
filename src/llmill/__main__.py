"""`python -m llmill STAGE [VARIANT]` runs a stage; the other commands look at results.

Every command reads `params.yaml` and `dvc.yaml` of the folder it is called in.
"""

import importlib
import pkgutil
import sys
from typing import Annotated

import typer

from llmill.contract.errors import Stopped, UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def stage_names() -> list[str]:
    """The modules of `llmill.stages`: a stage is named like its module."""
    package = importlib.import_module("llmill.stages")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def _add_stage(name: str) -> None:
    @app.command(name, help=f"Run stage {name}.", rich_help_panel="Stages")
    def stage(
        variant: Annotated[str | None, typer.Argument(help="Of a matrix stage.")] = None,
        resume_anyway: Annotated[
            bool, typer.Option(help="Continue a run that other code began.")
        ] = False,
    ) -> None:
        from llmill.contract.stage import execute

        module = importlib.import_module(f"llmill.stages.{name}")
        execute(module.run, name, variant, resume_anyway)


for _name in stage_names():
    _add_stage(_name)


@app.command()
def results() -> None:
    """Print the figures of the last run, with intervals."""
    from llmill.report.results import print_table

    print_table()


@app.command()
def verify(
    pin: Annotated[
        bool, typer.Option(help="Write hashes that were got into sources.yaml.")
    ] = False,
) -> None:
    """Hash the chain again, from raw file to metric, and name the first broken link."""
    from llmill.verify import verify_chain

    verify_chain(pin)


@app.command("show-batch")
def show_batch(
    stage: Annotated[str, typer.Argument(help="pretrain, classify, instruct or grader.")],
    step: Annotated[int, typer.Argument(help="Of the run, from 0.")],
    variant: Annotated[
        str | None, typer.Option(help="Of a matrix stage; all have the same batches.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
) -> None:
    """Print the batch of a step as the training reads it, without training."""
    from llmill.show import print_batch

    print_batch(stage, step, variant, rows)


def main() -> None:
    """Run a command; a user's mistake is one line and exit code 1, a signal ends in 128 + its
    number.
    """
    try:
        app()
    except UserError as error:
        sys.exit(f"llmill: {error}")
    except Stopped as stopped:
        print(f"llmill: {stopped}", file=sys.stderr, flush=True)
        sys.exit(128 + stopped.signum)


if __name__ == "__main__":
    main()
