"""What a file of data is, by the end of its name."""

from pathlib import PurePosixPath

TEXT = (".txt", ".md", ".jsonl", ".parquet")
PACKED = {".gz": "gzip", ".zst": "zstd"}  # round any but parquet, which packs by itself
CELLS = (".csv", ".tsv")
ROWS = (".json", ".jsonl", ".parquet")  # of instructions and preferences
QUESTIONS = (*CELLS, *ROWS)


def of(name: str) -> str | None:
    """The ending that says how a file is read, whatever it is packed in; None for another file."""
    whole = next((name.removesuffix(end) for end in PACKED if name.endswith(end)), name)
    form = next((end for end in TEXT if whole.endswith(end)), None)
    return None if form == ".parquet" and whole != name else form


def without(path: str) -> str:
    """A file's name without folders and endings: what a source of one's own is called."""
    return PurePosixPath(path).name.partition(".")[0]


def packing(name: str) -> str | None:
    """What a file is packed with, by the name that pyarrow has for it."""
    return next((kind for end, kind in PACKED.items() if name.endswith(end)), None)
