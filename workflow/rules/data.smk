# From raw files to token shards.


rule paths:
    input:
        inputs("paths"),
    output:
        f"{STAGES['paths'].out}/record.json",
    log:
        log("paths"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("paths")
    resources:
        mem_mb=1000,
    params:
        stage=stage("paths"),
        command=command("paths"),
        sections=sections("paths"),
        made=made("paths"),
    shell:
        RUN


rule code:
    input:
        inputs("code"),
    output:
        f"{STAGES['code'].out}/record.json",
    log:
        log("code"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("code")
    resources:
        mem_mb=1000,
    params:
        stage=stage("code"),
        command=command("code"),
        sections=sections("code"),
        made=made("code"),
    shell:
        RUN


rule download:
    input:
        inputs("download"),
    output:
        f"{STAGES['download'].out}/record.json",
    log:
        log("download"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("download")
    resources:
        mem_mb=1000,
    params:
        stage=stage("download"),
        command=command("download"),
        sections=sections("download"),
        code=code("download"),
        made=made("download"),
    shell:
        RUN


rule prepare:
    input:
        inputs("prepare"),
    output:
        f"{STAGES['prepare'].out}/record.json",
    log:
        log("prepare"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("prepare")
    resources:
        mem_mb=3000,
    params:
        stage=stage("prepare"),
        command=command("prepare"),
        sections=sections("prepare"),
        code=code("prepare"),
        made=made("prepare"),
    shell:
        RUN


rule tokenizer:
    input:
        inputs("tokenizer"),
    output:
        f"{STAGES['tokenizer'].out}/record.json",
    log:
        log("tokenizer"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("tokenizer")
    resources:
        mem_mb=3000,
    params:
        stage=stage("tokenizer"),
        command=command("tokenizer"),
        sections=sections("tokenizer"),
        code=code("tokenizer"),
        made=made("tokenizer"),
    shell:
        RUN


rule tokenize:
    input:
        inputs("tokenize"),
    output:
        f"{STAGES['tokenize'].out}/record.json",
    log:
        log("tokenize"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("tokenize")
    resources:
        mem_mb=3000,
    params:
        stage=stage("tokenize"),
        command=command("tokenize"),
        sections=sections("tokenize"),
        code=code("tokenize"),
        made=made("tokenize"),
    shell:
        RUN
