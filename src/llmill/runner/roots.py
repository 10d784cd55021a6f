"""The two roots in `params.yaml`, `paths.data` and `paths.results`: folders of the repository that
stages may fill and empty. DVC removes a declared output before it runs a stage, so any other root
is refused while the parameters are read.
"""

import re
from pathlib import Path

PART = re.compile(r"\w[\w.-]*")  # of a path; Snakemake's rules put it into a shell command
LONGEST = 200  # characters
# Folders of the repository itself, and those that its tools make.
OWN = (
    *("benchmarks", "docs", "own", "presets", "profiles", "src", "tests", "workflow"),
    *("models", "scratch", "mlruns", "mlartifacts", "dvc_plots", "mlflow.db", "dvc.lock"),
)
IGNORED = (".tmp", ".egg-info")  # endings that DVC or git ignores


def check(data: str, results: str) -> None:
    """Raise `ValueError`, in one line, unless the roots are two plain, separate folders."""
    for name, root in (("data", data), ("results", results)):
        wrong = _wrong(root) or _wrong_on_disk(Path(root))
        if wrong:
            raise ValueError(
                f"paths.{name} = {root!r}: {wrong}; name a folder of its own in the repository, "
                f"such as {name} or {name}/mine"
            )
    one, other = (Path(root.casefold()) for root in (data, results))
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ValueError(
            f"paths.data = {data!r} and paths.results = {results!r} must be two folders, neither "
            "inside the other"
        )


def _wrong(root: str) -> str | None:
    """Return what is wrong with the text, or None."""
    if root.startswith(("/", "~")) or re.match(r"[A-Za-z]:", root):
        return "not relative to the repository"
    parts = root.split("/")
    if ".." in parts or "." in parts:
        return "'.' and '..' are not plain"
    if len(root) > LONGEST or not all(PART.fullmatch(part) for part in parts):
        return "only letters, digits, '_', '-' and '.' between single '/', none of them hidden"
    if parts[0].casefold() in OWN:
        return f"'{parts[0]}' belongs to the repository"
    if any(part.casefold().endswith(IGNORED) or part == "__pycache__" for part in parts):
        return "a name that git or DVC ignores"
    return None


def _wrong_on_disk(root: Path) -> str | None:
    """Return what is wrong on disk: a file, or a link, which could lead anywhere."""
    for path in (root, *root.parents):
        if path.is_symlink():
            return f"'{path}' is a link"
        if path.exists() and not path.is_dir():
            return f"'{path}' is a file"
    return None
