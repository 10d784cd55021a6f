# Reads dvc.yaml and params.yaml for the rules: a fact that stands there is written nowhere else.

import re
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path("src").resolve()))  # in a borrowed environment, too

from llmill.contract import closure, dvc, ownership
from llmill.runner import params as parameters
from llmill.contract import pipeline
from llmill.contract.errors import UserError
from llmill.contract.record import (
    content_hash,
    files_under,
    read_json,
    sha256_text,
    to_json,
)
from llmill.runner.source import refuse_other_source
from snakemake.io import IOFile

try:
    refuse_other_source()
    TREE = parameters.load()
    STAGES = parameters.stages(TREE)
    SOURCE, LOCKED = closure.Source(), closure.read_lock()
    for each in STAGES.values():  # before Snakemake or DVC removes what lies there
        ownership.refuse_foreign(Path(each.out))
except UserError as error:
    sys.exit(f"llmill: {error}")

# How a rule brings its stage up to date. An executor without a shared file system sets it to "{params.command}".
# What stops a training must not stop its log: `tee` would die of the signal before the last lines are written.
RUN = (
    "dvc --wait-for-lock repro --single-item {params.stage} 2>&1"
    " | (trap '' INT TERM HUP; exec tee {log})"
)

# What a training asks of a cluster. `auto` asks for none: a partition without GPUs would refuse the job for ever.
GPUS = 1 if TREE.runtime.device == "cuda" else 0


def address(name, wildcards):
    """The stage that a job is about: `pretrain`, or `classify@all`."""
    return "@".join([name, *wildcards])


def record(stage):
    """The one small file of a stage, or of a variant, that Snakemake follows."""
    return f"{stage.out}/record.json"


def records():
    """Those of every stage and variant."""
    return [record(stage) for stage in STAGES.values()]


def log(name, *wildcards):
    """What the last job said, DVC's own lines among them; what the stage itself said when it last ran lies above."""
    return f"{TREE.paths.results}/logs/snakemake/{'-'.join([name, *wildcards])}.log"


def given(stage):
    """What a stage depends on and no stage makes: the list of sources, and the source that stage code reads."""
    return [dep for dep in stage.deps if pipeline.producer(STAGES, dep) is None]


hashed = cache(content_hash)


@cache
def code_hash(name):
    """The hash of the file that stage code writes about a stage: of what it would write now, but where DVC takes the
    one that is there.
    """
    try:
        would = sha256_text(to_json(closure.code_of(SOURCE, name, LOCKED)))
    except UserError as error:
        sys.exit(f"llmill: {error}")
    return written(name) if written(name) not in (None, would) and accepted("code") else would


def accepted(name):
    """Whether DVC takes a stage as it is."""
    try:
        return dvc.accepted(name)
    except UserError as error:
        sys.exit(f"llmill: {error}")


def written(name):
    """The hash of the file that is there, if one is."""
    file = Path(STAGES["code"].out, f"{name}.json")
    return hashed(file) if file.exists() else None


def stands(stage):
    """Whether what lies in a stage's folder is whole and was made with the parameters and the code of now, if anything
    does; or DVC takes it as it is.
    """
    file = Path(record(stage))
    if not file.exists():
        return True
    try:
        saved = read_json(file)
    except UserError:
        return False
    if stage.code and written(stage.name) != code_hash(stage.name):  # DVC has not seen this code
        return False
    now = parameters.values(TREE, stage.params)
    files = [path for path in given(stage) if Path(path).exists()]
    same_code = all(saved["inputs"].get(path) == hashed(Path(path)) for path in files)
    same_code &= all(saved["inputs"].get(path) == code_hash(stage.name) for path in stage.code)
    same_parameters = to_json(saved["parameters"]) == to_json(now)
    whole = all(Path(stage.out, name).is_file() for name in saved["outputs"])
    return (same_code and same_parameters and whole) or accepted(stage.address)


def inputs(name):
    """What a job waits for: the records of the stages it reads, and source files one by one, never a folder."""

    def of(wildcards):
        stage = STAGES[address(name, wildcards)]
        read = [record(parent) for parent in pipeline.parents(STAGES, stage)]
        if stage.code:
            # Stage code runs after any edit of source. Where that changes nothing for this stage, it is no reason to
            # schedule it; otherwise it is, since Snakemake looks at no other reason behind a job that it will run.
            code = record(STAGES["code"])
            read.append(ancient(code) if Path(record(stage)).exists() and stands(stage) else code)
        files = [
            [str(f) for f in files_under(Path(d))] if Path(d).is_dir() else [d]
            for d in given(stage)
        ]
        return read + [file for group in files for file in group]

    return of


def stage(name):
    """The stage's name for DVC."""
    return lambda wildcards: address(name, wildcards)


def command(name):
    """The stage's own command, for executors that run it without DVC."""
    return lambda wildcards: STAGES[address(name, wildcards)].cmd


def sections(name):
    """The values of the stage's sections of params.yaml: another value schedules it."""
    return parameters.values(TREE, listed(name))


def listed(name):
    """The sections of the stage."""
    return next(s.params for s in STAGES.values() if s.name == name)


def code(name):
    """A hash of the stage's code: other code schedules it."""
    depends = next(s.code for s in STAGES.values() if s.name == name)
    return code_hash(name) if depends else ""


def made(name):
    """A number that goes up where what lies there was made otherwise: by `dvc repro`, of an edit that was taken back.

    Snakemake compares with what it ran last, so it would see nothing to do. The number of then is kept where all is well.
    """

    def of(wildcards):
        stage = STAGES[address(name, wildcards)]
        known = workflow.persistence.params(IOFile(record(stage))) or []
        before = max((int(n) for n in re.findall(r"made anew (\d+)", str(known))), default=0)
        return f"made anew {before if stands(stage) else before + 1}"

    return of


def cores(name):
    """The cores of the stage: by its own section, the threads of each process times the processes."""
    section = parameters.values(TREE, listed(name)).get(name, {})
    return section.get("threads", 1) * section.get("processes", 1)
