# llmill: the table of contents. `snakemake --cores all` makes everything.
#
# A rule is named like its stage. The stage's command, edges and outputs stand in dvc.yaml; a rule says what only
# the scheduler needs, and its shell asks DVC to bring the stage up to date.


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,


rule all:
    default_target: True
    input:
        records(),


onstart:
    # The executor writes Python's path into its commands as it stands.
    executor = workflow.executor_plugin
    if executor and executor.name == "slurm" and " " in sys.executable:
        sys.exit(
            f"llmill: {sys.executable}: on slurm, Snakemake cannot start a Python in a path with a space; "
            "move the environment, or the repository with it"
        )
