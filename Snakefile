# llmill: the table of contents. `snakemake --cores all` makes everything.
#
# A rule is named like its stage, or like the part of a stage that jobs do before it. Everything about a stage stands in
# dvc.yaml: command, edges and outputs for DVC, and under `meta` what only the scheduler needs. A stage's rule asks DVC
# to bring the stage up to date.


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
