# Models: the foundation, the classifiers, the assistant, and the judge.


rule pretrain:
    input:
        inputs("pretrain"),
    output:
        f"{STAGES['pretrain'].out}/record.json",
    log:
        log("pretrain"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("pretrain")
    resources:
        mem_mb=3000,
        gpu=GPUS * TREE.pretrain.processes,
    params:
        stage=stage("pretrain"),
        command=command("pretrain"),
        sections=sections("pretrain"),
        code=code("pretrain"),
        made=made("pretrain"),
    shell:
        RUN


rule classify:
    input:
        inputs("classify"),
    output:
        f"{TREE.paths.results}/classify/{{variant}}/record.json",
    log:
        log("classify", "{variant}"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("classify")
    resources:
        mem_mb=3000,
        gpu=GPUS,
    params:
        stage=stage("classify"),
        command=command("classify"),
        sections=sections("classify"),
        code=code("classify"),
        made=made("classify"),
    shell:
        RUN


rule instruct:
    input:
        inputs("instruct"),
    output:
        f"{STAGES['instruct'].out}/record.json",
    log:
        log("instruct"),
    priority: 1  # the longest of what waits for the foundation model
    conda:
        "../envs/llmill.yaml"
    threads: cores("instruct")
    resources:
        mem_mb=3000,
        gpu=GPUS,
    params:
        stage=stage("instruct"),
        command=command("instruct"),
        sections=sections("instruct"),
        code=code("instruct"),
        made=made("instruct"),
    shell:
        RUN


rule grader:
    input:
        inputs("grader"),
    output:
        f"{STAGES['grader'].out}/record.json",
    log:
        log("grader"),
    priority: 1  # the longest of what waits for the foundation model
    conda:
        "../envs/llmill.yaml"
    threads: cores("grader")
    resources:
        mem_mb=3000,
        gpu=GPUS,
    params:
        stage=stage("grader"),
        command=command("grader"),
        sections=sections("grader"),
        code=code("grader"),
        made=made("grader"),
    shell:
        RUN
