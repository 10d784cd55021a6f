"""The kinds of files of text, by the end of their names."""

from pathlib import PurePosixPath

LINES = (".jsonl", ".ndjson")  # JSON lines
TEXT = (".txt", ".md", *LINES, ".parquet")
PACKED = {".gz": "gzip", ".zst": "zstd"}  # around any but parquet, which packs by itself


def of(name: str) -> str | None:
    """Return the ending that decides how a file is read, packed or not; None for other files."""
    whole = next((name.removesuffix(end) for end in PACKED if name.endswith(end)), name)
    form = next((end for end in TEXT if whole.endswith(end)), None)
    return None if form == ".parquet" and whole != name else form


def without(path: str) -> str:
    """Return a file's name without folders and endings: the name of a user's own source."""
    return PurePosixPath(path).name.partition(".")[0]


def packing(name: str) -> str | None:
    """Return what a file is packed with, by pyarrow's name for it."""
    return next((kind for end, kind in PACKED.items() if name.endswith(end)), None)
