# llmill's table of contents. `snakemake --cores all` makes everything.
#
# Each rule has the name of its stage, or of the stage whose parts its jobs do in advance. dvc.yaml defines each stage:
# command, edges and outputs for DVC, and under `meta` what only the scheduler needs. The rule of a stage calls DVC to
# bring the stage up to date.


include: "workflow/rules/common.smk"
include: "workflow/rules/changes.smk"
include: "workflow/rules/parts.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/start.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,


rule all:
    default_target: True
    input:
        records(),
