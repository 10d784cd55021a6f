# Reads dvc.yaml and params.yaml for the rules: a fact that stands there is written nowhere else.

import atexit
import gc
import sys
from pathlib import Path

gc.set_threshold(
    50_000
)  # the syntax trees of all modules are read: half the time went into looking through them
atexit.register(gc.freeze)  # nor does Python look through all objects as it ends

sys.path.insert(0, str(Path("src").resolve()))  # in a borrowed environment, too

from llmill.contract import closure, dvc, ownership, pipeline
from llmill.contract.errors import UserError
from llmill.contract.parts import FOLDER as PARTS
from llmill.contract.record import SCRATCH, files_under
from llmill.runner import params as parameters
from llmill.contract.source import refuse_other_source

try:
    refuse_other_source()
    dvc.refuse_hard_links()
    TREE = parameters.load()
    STAGES = parameters.stages(TREE)
    SOURCE, LOCKED = closure.SourceTree(), closure.read_lock()
    # A job is started with --mode, and may find another's folder half made.
    if "--mode" not in sys.argv:
        for each in STAGES.values():  # before Snakemake or DVC removes what lies there
            ownership.refuse_foreign(Path(each.out))
except UserError as error:
    sys.exit(f"llmill: {error}")

# How a rule brings its stage up to date. An executor without a shared file system sets it to "{params.command}".
RUN = "python workflow/scripts/job.py {params.stage} {params.made} {log}"


def firsts():
    """One stage for each rule: of the variants of a matrix, the first."""
    return list({stage.name: stage for stage in reversed(STAGES.values())}.values())[::-1]


def address(name, wildcards):
    """The stage that a job is about: `pretrain`, or `classify@all`."""
    return "@".join([name, *wildcards])


def wildcard(stage):
    """That of the stage's variants, if it has any."""
    return ["{variant}"] if stage.variant else []


def folder(stage):
    """Where the stage puts its results, with the wildcard."""
    return "".join([stage.out.removesuffix(stage.variant or ""), *wildcard(stage)])


def record(folder):
    """The one small file of a stage, or of a variant, that Snakemake follows."""
    return f"{folder}/record.json"


def records():
    """Those of every stage and variant."""
    return [record(stage.out) for stage in STAGES.values()]


def shown(stage):
    """What else `snakemake --report` shows of the stage."""
    return [pictured(stage, **each.model_dump(exclude_none=True)) for each in stage.meta.report]


def pictured(stage, file, caption, **words):
    """A file of the stage with its place in the report."""
    return report(f"{folder(stage)}/{file}", caption=f"../report/{caption}", **words)


def log(name, *wildcards):
    """What the last job said, DVC's own lines among them; what the stage itself said when it last ran lies above."""
    return f"{TREE.paths.results}/logs/snakemake/{'-'.join([name, *wildcards])}.log"


def given(stage):
    """What a stage depends on and no stage makes: the list of sources, and the source that stage code reads."""
    return [dep for dep in stage.deps if pipeline.producer(STAGES, dep) is None]


def ahead(stage):
    """The marks of the jobs that do parts of a stage's work before it."""
    return getattr(gather, stage.name)(part(stage)) if stage.meta.parts else []


def part(stage):
    """The mark that such a job leaves; it goes with the parts."""
    return f"{SCRATCH}/{stage.name}/{PARTS}/{{scatteritem}}.done"


def inputs(name):
    """What a job waits for: the records of the stages it reads, and source files one by one, never a folder."""

    def of(wildcards):
        stage = STAGES[address(name, wildcards)]
        read = [record(parent.out) for parent in pipeline.parents(STAGES, stage)]
        if stage.code:
            # Stage code runs after any edit of source. Where that changes nothing for this stage, it is no reason to
            # schedule it; otherwise it is, since Snakemake looks at no other reason behind a job that it will run.
            code = record(STAGES["code"].out)
            kept = Path(record(stage.out)).exists() and stands(stage)
            read.append(ancient(code) if kept else code)
        # Of a result that `dvc repro` alone has made, Snakemake knows no parameters: what is newer schedules it.
        read.append(ancient(CHANGED) if stands(stage) else CHANGED)
        files = [
            [str(f) for f in files_under(Path(d))] if Path(d).is_dir() else [d]
            for d in given(stage)
        ]
        return read + [file for group in files for file in group]

    return of


def inputs_of_parts(name):
    """What a job that does parts of a stage's work waits for: the same."""
    return lambda wildcards: inputs(name)([])


def address_of(name):
    """The stage's name for DVC."""
    return lambda wildcards: address(name, wildcards)


def command(name):
    """The stage's own command, for executors that run it without DVC."""
    return lambda wildcards: STAGES[address(name, wildcards)].cmd


def sections(stage):
    """The values of the stage's sections of params.yaml: another value schedules it."""
    return parameters.values(TREE, stage.params)


def threads(stage):
    """The threads of each of the stage's processes times these."""
    return own(stage, "threads", stage.meta.threads) * own(stage, "processes", 1)


def needs(stage):
    """What a job asks of the machine, or of a cluster, besides threads; what is not asked for is left out.

    `auto` asks for no GPU: a partition without any would let the job wait for ever.
    """
    wanted = stage.meta.gpu * own(stage, "processes", 1)
    gpu = wanted if TREE.runtime.device == "cuda" else 0
    asked = {"mem_mb": stage.meta.mem_mb, "gpu": gpu}
    return {name: amount for name, amount in asked.items() if amount}


def own(stage, key, default):
    """A value of the stage's own section of params.yaml, if it has it."""
    return sections(stage).get(stage.name, {}).get(key, default)
