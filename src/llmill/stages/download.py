"""Download every source that the parameters name, check its hash, and store it in one layout.

    python -m llmill download

Input: `sources.yaml`; its files, from LLMILL_MIRROR or their addresses; your own files in `own/`;
optionally a local folder with initial weights. The stage generates the world itself.
Output: a folder for each role, with `sources.json` (contents and licence); `metrics.json`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.known import NEWS, SOURCES, WORLD
from llmill.contract.values import Section
from llmill.stages.settings.download import Download, OwnFile, OwnText
from llmill.text.download import fetch, local, sources, transfer
from llmill.text.download.progress import progress
from llmill.text.download.sources import ROLES, File, Source
from llmill.text.download.transfer import Network

if TYPE_CHECKING:
    from llmill.contract.job import Job

TITLES = {
    WORLD: "The built-in world: written from tables of true facts",
    NEWS: "News of the built-in world: written from tables of other true facts",
}
Listed = dict[str, list[dict[str, Any]]]  # the entries of sources.json, by role


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    download: Download


def run(params: Parameters, job: Job) -> None:
    """Write the files of each role, their descriptions, and their sizes."""
    settings = params.download
    chosen = sources.chosen(settings.sources, sources.read())
    # Check before any download, so that a wrong folder costs no time.
    weights = local.files(Path(settings.init_folder)) if settings.init_folder else []
    for role, own in settings.own:
        local.refuse_missing(f"params.yaml: download.{role}", own.files)
    listed: Listed = {role: [] for role in ROLES}
    if generated := [pair for pair in settings.sources if pair[1] in (WORLD, NEWS)]:
        listed |= _generate(params, generated, job)
    if chosen:
        make_room([file for _, source in chosen for file in source.files], job)
        with transfer.client(settings.timeout) as client:
            network = Network(client, settings.retries, job.say)
            for role, source in chosen:
                below = settings.below(role, source.name)
                listed[role].append(_get(source, below, settings.at_once, network, job))
    if listed["init"]:
        name = listed["init"][0]["name"]
        local.refuse_other_config(f"params.yaml: download.init = '{name}'", job.out / "init")
    if settings.init_folder:
        listed["init"].append(_copied(settings.init_folder, weights, job))
    for role, own in settings.own:
        listed[role].append(_own(role, own, settings.below(role, own.name), job))
    listed["text"] = _in_order(listed["text"], settings.text_names)
    for role, entries in listed.items():
        # A role without sources also gets a folder and a list, so readers need no special case.
        (job.out / role).mkdir(exist_ok=True)
        record.write_json(job.out / role / SOURCES, entries)
    record.write_json(job.out / "metrics.json", measure(listed))
    for role, entries in listed.items():
        for entry in entries:
            digest = record.sha256_text(record.to_json(entry["files"]))
            job.track.dataset(entry["name"], f"{job.stage.out}/{role}", digest)


def make_room(files: list[File], job: Job) -> None:
    """Raise an error if the disk cannot hold the files."""
    job.downloads.mkdir(parents=True, exist_ok=True)
    transfer.room(job.downloads, sum(fetch.missing(file, job.downloads) for file in files))
    if job.out.stat().st_dev != job.downloads.stat().st_dev:  # copies, not links
        transfer.room(job.out, sum(file.bytes or 0 for file in files))


def measure(listed: Listed) -> dict[str, dict[str, int]]:
    """Return the number of files and bytes by role."""
    figures = {}
    for role, entries in listed.items():
        sizes = [file["bytes"] for entry in entries for file in entry["files"]]
        figures[role] = {"files": len(sizes), "bytes": sum(sizes)}
    return figures


def _get(source: Source, below: str, at_once: int, network: Network, job: Job) -> dict[str, Any]:
    """Fetch one source into the subfolder `below` of its role; return its `sources.json` entry."""
    sizes = [file.bytes for file in source.files]
    total = sum(size or 0 for size in sizes) if all(sizes) else None
    count = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
    places = [below + source.place(file) for file in source.files]
    targets = [job.out / source.role / place for place in places]
    with progress(f"{source.name}: {count}", total, job.say) as at:
        found = fetch.fetch_all(
            list(zip(source.files, targets, strict=True)),
            job.downloads,
            fetch.mirror(),
            network,
            at,
            at_once,
        )
    for file, (_, sha256) in zip(source.files, found, strict=True):
        if file.sha256 is None:
            job.say(
                f"warning: {file.path} has no sha256 in {sources.FILE}: nothing was checked; "
                f"got {sha256}, which `python -m llmill verify --pin` writes there"
            )
    files = [
        {"path": place, "bytes": size, "sha256": sha256}
        for place, (size, sha256) in zip(places, found, strict=True)
    ]
    return _entry(source.name, source.title, source.licence, source.reading, files)


def _copied(name: str, files: list[Path], job: Job) -> dict[str, Any]:
    """Copy the weights of a folder; return their `sources.json` entry."""
    to = job.out / "init"
    transfer.room(job.out, sum(file.stat().st_size for file in files))
    with transfer.disk_full_is_one_line(job.out):
        copied = local.copy(Path(name), files, to)
    total = sum(file["bytes"] for file in copied)
    job.say(f"{name}: {len(copied)} files, {total:,} bytes copied")
    return _entry(name, f"Weights in the folder {name}", "as in that folder", {}, copied)


def _entry(
    name: str, title: str, licence: str, reading: dict[str, Any], files: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"name": name, "title": title, "licence": licence, **reading, "files": files}


def _own(role: str, own: OwnFile, below: str, job: Job) -> dict[str, Any]:
    """Copy own files into the folder of their role; return their `sources.json` entry, which also
    describes how to read them.
    """
    paths = [Path(file) for file in own.files]
    name, reading = own.file, {"own": own.model_dump(mode="json")}
    if isinstance(own, OwnText):  # read like a listed source with this description
        name, below = own.name, f"{own.name}/"
        how = own.model_dump(include={"format", "column", "encoding"}, exclude_none=True)
        reading = {**how, "own": {"file": own.file}}
    transfer.room(job.out, sum(path.stat().st_size for path in paths))
    copied = []
    with transfer.disk_full_is_one_line(job.out):
        for path in paths:
            copied += local.copy(path.parent, [path], job.out / role / below, below)
    total = sum(file["bytes"] for file in copied)
    job.say(f"{', '.join(own.files)}: {total:,} bytes copied")
    return _entry(name, f"Own file {own.file}", "one's own", reading, copied)


def _in_order(entries: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Sort text sources in the order of the parameters."""
    return sorted(entries, key=lambda entry: names.index(entry["name"]))


def _generate(params: Parameters, pairs: list[tuple[str, str]], job: Job) -> Listed:
    """Generate the built-in world for these (role, name) pairs; return the `sources.json` entries
    by role.
    """
    from llmill.world import write

    texts = [name for role, name in pairs if role == "text"]
    roles = {role for role, _ in pairs}
    whole = job.out / "world.tmp"
    write(whole, params.download.world, texts)
    for folder in sorted(whole.iterdir()):
        if folder.name in roles:
            place = job.out / folder.name / params.download.below(folder.name, WORLD)
            place.parent.mkdir(exist_ok=True)
            folder.rename(place)
    shutil.rmtree(whole)
    listed = {role: [_world_entry(job.out / role, WORLD)] for role in sorted(roles - {"text"})}
    return listed | {"text": [_world_entry(job.out / "text", name, name) for name in texts]}


def _world_entry(folder: Path, name: str, below: str | None = None) -> dict[str, Any]:
    """Return the `sources.json` entry of a source in `folder`, or in its subfolder `below`."""
    files = [
        {
            "path": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": record.sha256_file(path),
        }
        for path in record.files_under(folder / (below or ""))
    ]
    reading = {"format": "paragraphs"} if below else {}
    return _entry(name, TITLES[name], "generated; no rights reserved", reading, files)
