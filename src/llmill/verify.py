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

from llmill.comparison import workspace
from llmill.comparison.stage_runs import read_lock
from llmill.contract import elsewhere, ownership, pipeline, printable, record, yaml_file
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.runner import params
from llmill.runner.tracking import describe, runs_by_record


@dataclass(frozen=True)
class Verified:
    """A stage whose links hold."""

    record: str  # hash
    accepted: list[str]  # paths that differ from the record and have the content in `dvc.lock`


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

    Raises `UserError` for a difference that `dvc.lock` does not have. `dvc commit` accepts an edit
    as one that changes nothing: it writes the new hashes there, and leaves the record as it is.
    """
    folder = Path(stage.out)
    if not (folder / record.NAME).exists():
        raise UserError(
            f"{folder / record.NAME}: missing; `dvc pull` fetches it, "
            f"`dvc repro {stage.address}` makes it"
        )
    saved = record.read_json(folder / record.NAME)
    files = record.outputs(folder)
    differing = {}  # by path: what is wrong with it
    for name in sorted(saved["outputs"].keys() | files.keys()):
        path = str(folder / name)
        if name not in saved["outputs"] and workspace.is_ignored(path):
            continue  # an editor's or the system's, and no part of the result
        if saved["outputs"].get(name) != files.get(name):
            what = "missing" if name not in files else "not in the record"
            if name in files and name in saved["outputs"]:
                what = "other bytes than its record says"
            differing[path] = f"{path}: {what}; `dvc checkout {folder}` restores it"
    for path, sha256 in saved["inputs"].items():
        elsewhere.inside(Path(), path, folder / record.NAME)
        if record.content_hash(Path(path)) != sha256:
            differing[path] = (
                f"{stage.address}: made from another {path} than is here; `dvc repro` makes it anew"
            )
    committed = _committed(stage, list(differing)) if differing else set()
    for path, what in differing.items():
        if path not in committed:
            raise UserError(what)
    return Verified(record.sha256_file(folder / record.NAME), list(differing))


def _committed(stage: Stage, paths: list[str]) -> set[str]:
    """Return which of a stage's outputs and inputs have the content that `dvc.lock` names. All are
    read: `dvc status` would take a file of unchanged size and time for unchanged.
    """
    lock = yaml_file.load(ownership.LOCK, "") if ownership.LOCK.exists() else None
    made = read_lock(lock).get(stage.address)
    if made is None:
        return set()
    listed = ownership.listed_by_dvc(Path(stage.out))
    known = {**made.deps, **{f"{stage.out}/{name}": md5 for name, md5 in listed.items()}}
    same = {path for path in paths if path in known and known[path] == workspace.md5(path)}
    # Without DVC's list in the cache, the hash of the whole folder decides.
    if not listed and made.outs.get(stage.out) == workspace.md5(stage.out):
        same |= {path for path in paths if path.startswith(f"{stage.out}/")}
    return same


def pin_sources(download: Path) -> None:
    """Write the hashes of the downloaded files into `sources.yaml`, where they were not known."""
    from llmill.text.download import sources

    got = sources.got(sources.read(), download)
    if not got:
        raise UserError(f"{download}: nothing was downloaded yet; run the download stage first")
    pinned = sources.pin(sources.FILE, got)
    print(f"sources.yaml: {len(pinned)} hashes written" + "".join(f"\n  {p}" for p in pinned))
