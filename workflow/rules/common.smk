# Reads dvc.yaml and params.yaml for the rules. The rules repeat no fact of these files.

import atexit
import gc
import sys
from pathlib import Path

gc.set_threshold(
    50_000
)  # we read the syntax trees of all modules; scanning these objects took half of the time
atexit.register(gc.freeze)  # and Python scans no objects when it ends

sys.path.insert(0, str(Path("src").resolve()))  # also in another clone's environment

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
    # Snakemake starts a job with --mode. A job may find a folder that another job has half made.
    if "--mode" not in sys.argv:
        for each in STAGES.values():  # before Snakemake or DVC removes its content
            ownership.refuse_foreign(Path(each.out))
except UserError as error:
    sys.exit(f"llmill: {error}")

# The command of a rule that brings its stage up to date. An executor without a shared file system sets it to
# "{params.command}".
RUN = "python workflow/scripts/job.py {params.stage} {params.made} {log}"


def firsts():
    """Return one stage per rule. For a matrix stage, it is the first variant."""
    return list({stage.name: stage for stage in reversed(STAGES.values())}.values())[::-1]


def address(name, wildcards):
    """Return the stage of a job: `pretrain`, or `classify@all`."""
    return "@".join([name, *wildcards])


def wildcard(stage):
    """Return the wildcard of the stage's variants, if it has any."""
    return ["{variant}"] if stage.variant else []


def folder(stage):
    """Return the folder of the stage's results, with the wildcard."""
    return "".join([stage.out.removesuffix(stage.variant or ""), *wildcard(stage)])


def record(folder):
    """Return the small file of a stage or variant that Snakemake tracks; it tracks no other."""
    return f"{folder}/record.json"


def records():
    """Return the records of all stages and variants."""
    return [record(stage.out) for stage in STAGES.values()]


def shown(stage):
    """Return the other files of the stage that `snakemake --report` shows."""
    return [pictured(stage, **each.model_dump(exclude_none=True)) for each in stage.meta.report]


def pictured(stage, file, caption, **words):
    """Return a file of the stage with its place in the report."""
    return report(f"{folder(stage)}/{file}", caption=f"../report/{caption}", **words)


def log(name, *wildcards):
    """Return the log of the last job, with DVC's lines. The stage's own log of its last run is one folder above."""
    return f"{TREE.paths.results}/logs/snakemake/{'-'.join([name, *wildcards])}.log"


def given(stage):
    """Return the dependencies that no stage makes: the list of sources, and the source that stage `code` reads."""
    return [dep for dep in stage.deps if pipeline.producer(STAGES, dep) is None]


def ahead(stage):
    """Return the marks of the jobs that do parts of a stage's work before it."""
    return getattr(gather, stage.name)(part(stage)) if stage.meta.parts else []


def part(stage):
    """Return the mark that such a job leaves. It is removed together with the parts."""
    return f"{SCRATCH}/{stage.name}/{PARTS}/{{scatteritem}}.done"


def inputs(name):
    """Return what a job waits for: the records of the stages that it reads, and single source files, never a folder."""

    def of(wildcards):
        stage = STAGES[address(name, wildcards)]
        read = [record(parent.out) for parent in pipeline.parents(STAGES, stage)]
        if stage.code:
            # Stage `code` runs after any edit of the source. If the edit changes nothing for this stage, it must not
            # schedule the stage. Otherwise it must, because Snakemake checks no other reason downstream of a job that it
            # will run.
            code = record(STAGES["code"].out)
            kept = Path(record(stage.out)).exists() and stands(stage)
            read.append(ancient(code) if kept else code)
        # Snakemake knows no parameters of a result that only `dvc repro` has made. A newer file schedules it.
        read.append(ancient(CHANGED) if stands(stage) else CHANGED)
        files = [
            [str(f) for f in files_under(Path(d))] if Path(d).is_dir() else [d]
            for d in given(stage)
        ]
        return read + [file for group in files for file in group]

    return of


def inputs_of_parts(name):
    """Return what a job waits for that does parts of a stage's work: the same."""
    return lambda wildcards: inputs(name)([])


def address_of(name):
    """Return the stage's name for DVC."""
    return lambda wildcards: address(name, wildcards)


def command(name):
    """Return the stage's own command, for executors that run it without DVC."""
    return lambda wildcards: STAGES[address(name, wildcards)].cmd


def sections(stage):
    """Return the values of the stage's sections of params.yaml. Another value schedules the stage."""
    return parameters.values(TREE, stage.params)


def threads(stage):
    """Return the threads per process times the number of processes of the stage."""
    return own(stage, "threads", stage.meta.threads) * own(stage, "processes", 1)


def needs(stage):
    """Return what a job requests from the machine or cluster, besides threads, without zero amounts.

    `auto` requests no GPU, because the job would wait for ever in a partition without GPUs.
    """
    wanted = stage.meta.gpu * own(stage, "processes", 1)
    gpu = wanted if TREE.runtime.device == "cuda" else 0
    asked = {"mem_mb": stage.meta.mem_mb, "gpu": gpu}
    return {name: amount for name, amount in asked.items() if amount}


def own(stage, key, default):
    """Return a value of the stage's own section of params.yaml, or the default."""
    return sections(stage).get(stage.name, {}).get(key, default)
