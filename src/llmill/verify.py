"""`python -m llmill verify`: hash the chain again, from raw file to metric, and name the first
broken link.

Prints each stage's record hash beside the MLflow run and git commit that made it. These vary from
run to run, so hashed outputs do not contain them.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmill.contract import dvc, elsewhere, pipeline, printable, record
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.runner import params
from llmill.runner.tracking import describe, runs_by_record


@dataclass(frozen=True)
class Verified:
    """A stage whose links hold."""

    record: str  # hash
    accepted: list[str]  # paths that differ from the record but that DVC accepts


def verify_chain(pin: bool) -> None:
    """Check every stage in order. Raises `UserError` at the first broken link."""
    tree = params.load()
    stages = params.stages(tree)
    if pin:
        pin_sources(pipeline.folder(stages, "download"))
    verified = {stage.address: verify_stage(stage) for stage in stages.values()}
    runs = _runs_that_are_here()
    table = Table("stage", "record", "MLflow run", "commit", "dirty", title="every link holds")
    for address, each in verified.items():
        run = runs.get(each.record, {"run_id": "not here", "commit": "-", "dirty": "-"})
        cells = (run["run_id"], run["commit"][:12], run["dirty"])  # as the tracking server has them
        table.add_row(address, each.record[:16], *(escape(printable.line(cell)) for cell in cells))
    Console().print(table)
    for address, each in verified.items():
        for path in each.accepted:
            print(f"{address}: another {path} than its record names, accepted by `dvc commit`")


def _runs_that_are_here() -> dict[str, dict[str, str]]:
    """Return the runs by record; none, with a line, if MLflow's server is away or unreadable."""
    try:
        return runs_by_record()
    except Exception as error:  # whatever MLflow raises, the hashes were compared
        line = printable.line(f"llmill: MLflow's runs cannot be read: {describe(error)}")
        print(line, file=sys.stderr, flush=True)
        return {}


def verify_stage(stage: Stage) -> Verified:
    """Compare a stage's record with its files and with its inputs.

    Raises `UserError` for a difference that `dvc.lock` does not have.
    """
    folder = Path(stage.out)
    saved = record.read_json(folder / record.NAME)
    files = record.outputs(folder)
    differing = {}  # by path: what is wrong with it
    for name in sorted(saved["outputs"].keys() | files.keys()):
        if saved["outputs"].get(name) != files.get(name):
            what = "missing" if name not in files else "not in the record"
            if name in files and name in saved["outputs"]:
                what = "other bytes than its record says"
            path = str(folder / name)
            differing[path] = f"{path}: {what}; `dvc checkout {folder}` restores it"
    for path, sha256 in saved["inputs"].items():
        elsewhere.inside(Path(), path, folder / record.NAME)
        if record.content_hash(Path(path)) != sha256:
            differing[path] = (
                f"{stage.address}: made from another {path} than is here; `dvc repro` makes it anew"
            )
    if differing and not dvc.accepted(stage.address):
        raise UserError(next(iter(differing.values())))
    return Verified(record.sha256_file(folder / record.NAME), list(differing))


def pin_sources(download: Path) -> None:
    """Write the hashes of the downloaded files into `sources.yaml`, where they were not known."""
    from llmill.text.download import sources

    got = sources.got(sources.read(), download)
    if not got:
        raise UserError(f"{download}: nothing was downloaded yet; run the download stage first")
    pinned = sources.pin(sources.FILE, got)
    print(f"sources.yaml: {len(pinned)} hashes written" + "".join(f"\n  {p}" for p in pinned))
