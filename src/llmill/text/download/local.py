"""A model's folder on this machine, to start from: which files are taken, and what is refused.

The folder is ours (`llmill.model.checkpoint`) or Hugging Face's: a config, weights in safetensors
and a tokenizer. It may also be one GGUF file, which holds all three.
"""

import contextlib
import difflib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.contract.known import SOURCES
from llmill.contract.model_folder import BPE, CONFIG, form, gguf_file, is_ours
from llmill.text.download.sources import MODEL, is_model
from llmill.text.files import gguf_file as gguf

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def files(folder: Path) -> list[Path]:
    """Return the files to take. Raises `UserError` if the folder is not a model to start from."""
    where = f"params.yaml: download.init = '{folder}'"
    if not folder.is_dir() and gguf_file(folder) is None:
        raise UserError(
            f"{where}: no such folder or file; give one relative to here, or a source's name"
        )
    if form(folder) == "gguf":
        refuse_other_config(where, folder)
        return [file for file in [gguf_file(folder)] if file is not None]
    places = [folder, folder / BPE]
    paths = sorted(
        path for place in places if place.is_dir() for path in place.iterdir() if path.is_file()
    )
    model_files = [path for path in paths if path.suffix in MODEL and path.name != SOURCES]
    if not is_model([path.name for path in model_files]):
        pickled = next((path.name for path in paths if path.suffix in PICKLES), None)
        if pickled and (folder / CONFIG).exists():
            raise UserError(
                f"{where}: {pickled} is a pickle, which runs whatever code its maker put in; "
                "llmill reads safetensors only, and there are none"
            )
        missing = CONFIG if not (folder / CONFIG).exists() else "*.safetensors"
        raise UserError(f"{where}: {missing} is missing; it must be a model's folder")
    refuse_other_config(where, folder)
    return model_files


def refuse_other_config(where: str, folder: Path) -> None:
    """Refuse a config that is neither ours, of a model of tokens, nor Hugging Face's.

    Raises `UserError`, which begins with `where`, the folder's parameter or source.
    """
    if form(folder) == "gguf":
        file = gguf_file(folder)
        assert file is not None, "what makes it one"
        gguf.read(file)
        return
    field = "head" if is_ours(folder) else "model_type"
    config = elsewhere.read_object(folder / CONFIG)
    if field not in config:
        raise UserError(
            f"{where}: {CONFIG} has no `{field}`; a folder is ours, with {BPE}/ and `head`, or "
            "Hugging Face's, with `model_type`"
        )
    if config.get("adapter") is not None and field == "head":
        raise UserError(
            f"{where}: {CONFIG} says that it is an adapter, whose foundation would stay behind; "
            "start from the merged model that stage export writes"
        )
    if field == "head" and config["head"] != "next_token":
        raise UserError(
            f"{where}: {CONFIG} says head {elsewhere.quoted(config['head'])}; training "
            "can start only from a model that pretrain or instruct made"
        )


def refuse_missing(where: str, files: list[str]) -> None:
    """Raise `UserError`, which begins with `where`, for a user's own file that is not there."""
    for file in map(Path, files):
        below = file.parents[: max(0, len(file.parts) - 2)]  # DVC follows a link at the top level
        linked = next((folder for folder in below if folder.is_symlink()), None)
        if linked:
            raise UserError(
                f"{where}: {linked} is a link to a folder, in which nobody would see edits of "
                f"{file}; link the files themselves, or copy them"
            )
        passed_over = next((part for part in file.parts if part.endswith(".tmp")), None)
        if passed_over:
            raise UserError(
                f"{where}: {file}: DVC does not look at {passed_over}, so nobody would see edits; "
                "rename it"
            )
        if file.is_file():
            continue
        if file.is_dir():
            raise UserError(f"{where}: {file} is a folder; name a file in it")
        if file.with_name(file.name + ".dvc").exists():
            raise UserError(f"{where}: {file} is not here; `dvc pull {file}` brings it")
        folder = file.parent
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        near = difflib.get_close_matches(file.name, names, n=1)
        hint = f"did you mean {folder / near[0]}?" if near else f"copy it into {folder}/"
        raise UserError(f"{where}: {file} is not there; {hint}")


@contextlib.contextmanager
def own_names(folder: Path, own: Mapping[str, Any]) -> Iterator[None]:
    """Make errors about copies in `folder` name the user's own files, which the user edits.

    `own`: the entry about them in `sources.json`.
    """
    try:
        yield
    except UserError as error:
        line = str(error)
        for file in filter(None, map(own.get, ("file", "test", "dev"))):
            line = line.replace(str(folder / Path(file).name), file)
        raise UserError(line) from None


def copy(folder: Path, paths: list[Path], to: Path, below: str = "") -> list[dict[str, Any]]:
    """Copy files, and return path, bytes and sha256 of each, with `below` in front of the path.

    Files are never linked, because they stay their owner's.
    """
    copied = []
    for file in paths:
        place = file.relative_to(folder if folder.is_dir() else folder.parent)
        (to / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to / place)
        size, sha256 = (to / place).stat().st_size, record.sha256_file(to / place)
        copied.append({"path": below + place.as_posix(), "bytes": size, "sha256": sha256})
    return copied
