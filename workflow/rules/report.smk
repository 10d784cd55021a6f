# What others get to see: the page that shows it all, and the models as transformers loads them.


rule report:
    input:
        inputs("report"),
    output:
        f"{STAGES['report'].out}/record.json",
        page=report(
            f"{STAGES['report'].out}/index.html",
            caption="../report/page.rst",
            category="Results",
        ),
        loss=report(
            f"{STAGES['report'].out}/figures/loss.png",
            caption="../report/loss.rst",
            category="Results",
        ),
        classification=report(
            f"{STAGES['report'].out}/figures/classification.png",
            caption="../report/classification.rst",
            category="Results",
        ),
        confusion=report(
            f"{STAGES['report'].out}/figures/confusion.png",
            caption="../report/confusion.rst",
            category="Results",
        ),
        mmlu_levels=report(
            f"{STAGES['report'].out}/figures/mmlu_levels.png",
            caption="../report/mmlu_levels.rst",
            category="Results",
        ),
        mmlu_subjects=report(
            f"{STAGES['report'].out}/figures/mmlu_subjects.png",
            caption="../report/mmlu_subjects.rst",
            category="Results",
        ),
        judge=report(
            f"{STAGES['report'].out}/figures/judge.png",
            caption="../report/judge.rst",
            category="Results",
        ),
        grader=report(
            f"{STAGES['report'].out}/figures/grader.png",
            caption="../report/grader.rst",
            category="Results",
        ),
    log:
        log("report"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("report")
    resources:
        mem_mb=3000,
    params:
        stage=stage("report"),
        command=command("report"),
        sections=sections("report"),
        code=code("report"),
        made=made("report"),
    shell:
        RUN


rule export:
    input:
        inputs("export"),
    output:
        f"{TREE.paths.results}/export/{{model}}/record.json",
    log:
        log("export", "{model}"),
    conda:
        "../envs/llmill.yaml"
    threads: cores("export")
    resources:
        mem_mb=3000,
    params:
        stage=stage("export"),
        command=command("export"),
        sections=sections("export"),
        code=code("export"),
        made=made("export"),
    shell:
        RUN
