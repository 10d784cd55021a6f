# From raw files to token shards.


rule download:
    input:
        inputs("download"),
    output:
        f"{TREE.paths.download}/record.json",
    log:
        f"{TREE.paths.results}/logs/download.log",
    benchmark:
        f"{TREE.paths.results}/benchmarks/download.tsv"
    conda:
        "../envs/llmill.yaml"
    threads: cores("download")
    resources:
        mem_mb=1000,
    params:
        stage=stage("download"),
        command=command("download"),
        sections=sections("download"),
        made=made("download"),
    shell:
        RUN


rule prepare:
    input:
        inputs("prepare"),
    output:
        f"{TREE.paths.prepare}/record.json",
    log:
        f"{TREE.paths.results}/logs/prepare.log",
    benchmark:
        f"{TREE.paths.results}/benchmarks/prepare.tsv"
    conda:
        "../envs/llmill.yaml"
    threads: cores("prepare")
    resources:
        mem_mb=3000,
    params:
        stage=stage("prepare"),
        command=command("prepare"),
        sections=sections("prepare"),
        made=made("prepare"),
    shell:
        RUN


rule tokenizer:
    input:
        inputs("tokenizer"),
    output:
        f"{TREE.paths.tokenizer}/record.json",
    log:
        f"{TREE.paths.results}/logs/tokenizer.log",
    benchmark:
        f"{TREE.paths.results}/benchmarks/tokenizer.tsv"
    conda:
        "../envs/llmill.yaml"
    threads: cores("tokenizer")
    resources:
        mem_mb=3000,
    params:
        stage=stage("tokenizer"),
        command=command("tokenizer"),
        sections=sections("tokenizer"),
        made=made("tokenizer"),
    shell:
        RUN


rule tokenize:
    input:
        inputs("tokenize"),
    output:
        f"{TREE.paths.tokenize}/record.json",
    log:
        f"{TREE.paths.results}/logs/tokenize.log",
    benchmark:
        f"{TREE.paths.results}/benchmarks/tokenize.tsv"
    conda:
        "../envs/llmill.yaml"
    threads: cores("tokenize")
    resources:
        mem_mb=3000,
    params:
        stage=stage("tokenize"),
        command=command("tokenize"),
        sections=sections("tokenize"),
        made=made("tokenize"),
    shell:
        RUN
