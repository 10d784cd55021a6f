# Check whether the result of a stage is what the present parameters and code would make.

from functools import cache

from llmill.contract import dvc
from llmill.contract.record import content_hash, read_json, sha256_text, to_json

hashed = cache(content_hash)


@cache
def code_hash(name):
    """Return the hash of the file that stage `code` writes about a stage. This is the file that it would write now,
    except where DVC accepts the existing file.
    """
    try:
        would = sha256_text(to_json(closure.code_of(SOURCE, name, LOCKED)))
    except UserError as error:
        sys.exit(f"llmill: {error}")
    return written(name) if written(name) not in (None, would) and accepted("code") else would


def accepted(name):
    """Return whether DVC accepts a stage as it is."""
    try:
        return dvc.accepted(name)
    except UserError as error:
        sys.exit(f"llmill: {error}")


def written(name):
    """Return the hash of the existing file, if there is one."""
    file = Path(STAGES["code"].out, f"{name}.json")
    return hashed(file) if file.exists() else None


def stands(stage):
    """Return whether a stage's result is complete and was made with the present parameters and code, or DVC accepts it
    as it is. True if the stage has no result.
    """
    file = Path(record(stage.out))
    if not file.exists():
        return True
    try:
        saved = read_json(file)
    except UserError:
        return False
    if stage.code and written(stage.name) != code_hash(stage.name):  # DVC has not seen this code
        return False
    files = [path for path in given(stage) if Path(path).exists()]
    same_code = all(saved["inputs"].get(path) == hashed(Path(path)) for path in files)
    same_code &= all(saved["inputs"].get(path) == code_hash(stage.name) for path in stage.code)
    same_edges = saved["inputs"].keys() == set(stage.deps)
    same_parameters = to_json(saved["parameters"]) == to_json(sections(stage))
    whole = all(Path(stage.out, name).is_file() for name in saved["outputs"])
    return (same_code and same_edges and same_parameters and whole) or accepted(stage.address)


def code(stage):
    """Return a hash of the stage's code. Other code schedules the stage."""
    return code_hash(stage.name) if stage.code else ""


def made(name):
    """Return a function that gives a number, which grows if the present result was made with another state of the
    source: `dvc repro` made it from an edit that was then undone.

    Snakemake compares a parameter with the parameter of the last job, so it would see nothing to do. The job writes the
    number next to its log (workflow/scripts/job.py). The number stays the same if the result is current.
    """

    def of(wildcards):
        stage = STAGES[address(name, wildcards)]
        file = Path(log(name, *wildcards)).with_suffix(".made")
        text = file.read_text().strip() if file.exists() else ""
        before = int(text) if text.isdecimal() else 0
        return before if stands(stage) else before + 1

    return of


CHANGED = "scratch/changed"  # newer than every result while any result is out of date

if not (Path(CHANGED).exists() and all(stands(stage) for stage in STAGES.values())):
    try:
        Path(CHANGED).parent.mkdir(exist_ok=True)
        Path(CHANGED).touch()
    except OSError as error:
        sys.exit(f"llmill: {CHANGED}: {error.strerror}; work in a clone that you may write to")
