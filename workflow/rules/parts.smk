# Jobs that do parts of a stage's work before it. There are none unless asked for, as `--set-scatter prepare=8 tokenize=8`:
# then eight jobs go ahead of either stage, which takes what they made.


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
                stage=stage.name,  # of what else changes a part, the part itself knows
            shell:
                "PYTHONPATH=src${{PYTHONPATH:+:$PYTHONPATH}} python -m llmill part {params.stage} {wildcards.scatteritem} > {log} 2>&1"
