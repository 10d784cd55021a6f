# The page that shows it all.


rule report:
    input:
        inputs("report"),
    output:
        f"{TREE.paths.report}/record.json",
        page=report(
            f"{TREE.paths.report}/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/llmill.yaml"
    threads: cores("report")
    resources:
        mem_mb=3000,
    params:
        stage=stage("report"),
        command=command("report"),
        sections=sections("report"),
    shell:
        RUN
