# Jobs that do parts of a stage's work before it. Snakemake starts them only on request, e.g. with
# `--set-scatter prepare=8 tokenize=8`: eight jobs then run before each of the two stages, which uses their parts.


scattergather:
    **{stage.name: 0 for stage in firsts() if stage.meta.parts},


for stage in firsts():
    if stage.meta.parts:

        rule:
            name:
                f"{stage.name}_part"
            input:
                inputs_of_parts(stage.name),
            output:
                temp(touch(part(stage))),
            log:
                log(f"{stage.name}-part", "{scatteritem}"),
            priority: stage.meta.priority
            conda:
                "../envs/llmill.yaml"
            resources:
                **needs(stage),
            params:
                stage=stage.name,  # the part itself checks everything else that changes it
            shell:
                "PYTHONPATH=src${{PYTHONPATH:+:$PYTHONPATH}} python -m llmill part {params.stage} {wildcards.scatteritem} > {log} 2>&1"
