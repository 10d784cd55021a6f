# What the models are worth.


rule accuracy:
    input:
        inputs("accuracy"),
    output:
        f"{STAGES['accuracy'].out}/record.json",
    log:
        log("accuracy"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("accuracy")
    resources:
        mem_mb=3000,
    params:
        stage=stage("accuracy"),
        command=command("accuracy"),
        sections=sections("accuracy"),
        code=code("accuracy"),
        made=made("accuracy"),
    shell:
        RUN


rule mmlu:
    input:
        inputs("mmlu"),
    output:
        f"{TREE.paths.results}/mmlu/{{model}}/record.json",
    log:
        log("mmlu", "{model}"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("mmlu")
    resources:
        mem_mb=3000,
    params:
        stage=stage("mmlu"),
        command=command("mmlu"),
        sections=sections("mmlu"),
        code=code("mmlu"),
        made=made("mmlu"),
    shell:
        RUN


rule judge:
    input:
        inputs("judge"),
    output:
        f"{TREE.paths.results}/judge/{{model}}/record.json",
    log:
        log("judge", "{model}"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("judge")
    resources:
        mem_mb=3000,
    params:
        stage=stage("judge"),
        command=command("judge"),
        sections=sections("judge"),
        code=code("judge"),
        made=made("judge"),
    shell:
        RUN
