# A rule for each stage of dvc.yaml. The functions read the loop variable, so each of them is called inside the loop.

for stage in firsts():

    rule:
        name:
            stage.name
        input:
            inputs(stage.name),
            ahead(stage),
        output:
            record(folder(stage)),
            *shown(stage),
        log:
            log(stage.name, *wildcard(stage)),
        priority: stage.meta.priority
        conda:
            "../envs/llmill.yaml"
        threads: threads(stage)
        resources:
            **needs(stage),
        params:
            stage=address_of(stage.name),
            command=command(stage.name),
            sections=sections(stage),
            code=code(stage),
            made=made(stage.name),
        shell:
            RUN
