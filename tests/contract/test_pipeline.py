"""The reader of dvc.yaml agrees with DVC itself."""

import json
import os
import subprocess
import sys

import pytest
from dvc.repo import Repo

from llmill.contract import pipeline, yaml_file
from llmill.contract.errors import UserError
from llmill.runner import params
from tests.conftest import ROOT, preset


def read(tree: params.Params | None = None) -> dict[str, pipeline.Stage]:
    paths = (tree or preset("world")).paths.model_dump()
    return pipeline.load({"paths": paths}, ROOT / "dvc.yaml")


def test_dvc_reads_the_same_stages_commands_dependencies_and_outputs():
    with Repo(os.fspath(ROOT)) as repo:
        theirs = {
            stage.addressing: (
                stage.cmd,
                sorted(
                    dep.def_path for dep in stage.deps if type(dep).__name__ != "ParamsDependency"
                ),
                [out.def_path for out in stage.outs],
            )
            for stage in repo.index.stages
        }
    ours = {
        s.address: (s.cmd, sorted(s.deps), [s.out])
        for s in read(params.load(ROOT / "params.yaml")).values()
    }
    assert ours == theirs


def test_a_matrix_stage_stands_for_each_of_its_variants():
    stages = read()
    assert pipeline.variants(stages, "classify") == [
        "last_layer", "last_block", "last_two_blocks", "lora", "all", "all_from_random"
    ]  # fmt: skip
    stage = stages["classify@all"]
    assert stage.cmd == "python -m llmill classify all"
    assert stage.out == "results/classify/all"
    assert "results/pretrain/checkpoint" in stage.data
    assert stage.code == ("data/code/classify.json",)
    assert not set(stage.code) & set(stage.data)


def test_variants_may_differ_in_what_they_read():
    stages = read()
    assert pipeline.variants(stages, "judge") == ["pretrain", "instruct", "prefer"]
    reads = [stages[f"judge@{name}"].deps[-2] for name in ("pretrain", "prefer")]
    assert reads == ["results/instruct/answers/pretrain.json", "results/prefer/answers"]


def test_parents_are_the_stages_whose_files_are_read():
    stages = read()
    assert [s.address for s in pipeline.parents(stages, stages["judge@pretrain"])] == [
        "prepare",  # its paraphrases
        "pretrain",  # with which an adapter is read
        "instruct",
        "grader",
    ]
    assert pipeline.parents(stages, stages["paths"]) == []


TOY = """
stages:
  one:
    cmd: python -c "open('one','w').write('1')"
    outs: [one]
    meta: {mem_mb: 100}
  many:
    matrix: {n: [a, b]}
    cmd: python -c "open('${item.n}','w').write('1')"
    outs: ["${item.n}"]
    meta:
      mem_mb: 200
      threads: 3
      gpu: 1
      priority: 4
      report:
        - {file: page.html, category: Results, caption: page.rst, labels: {figure: page}}
"""


def test_meta_says_what_a_stage_and_each_of_its_variants_need(tmp_path):
    file = tmp_path / "dvc.yaml"
    file.write_text(TOY + "  none: {cmd: 'true', outs: [none]}\n")
    stages = pipeline.load({}, file)
    page = pipeline.Shown(
        file="page.html", category="Results", caption="page.rst", labels={"figure": "page"}
    )
    many = pipeline.Meta(mem_mb=200, threads=3, gpu=1, priority=4, report=[page])
    assert stages["one"].meta == pipeline.Meta(mem_mb=100)
    assert stages["many@a"].meta == stages["many@b"].meta == many
    assert stages["none"].meta == pipeline.Meta(
        mem_mb=None, threads=1, gpu=0, priority=0, report=[]
    )


@pytest.mark.parametrize(
    ("meta", "line"),
    [
        ("{mem_mp: 100}", "stages.one.meta.mem_mp is unknown; known: mem_mb, threads, gpu, priority, report, parts, null_roles"),
        ("{mem_mb: much}", "stages.one.meta.mem_mb = 'much': Input should be a valid integer"),
        ("{threads: 0}", "stages.one.meta.threads = 0: Input should be greater than 0"),
        ("{report: [{file: a, category: b, caption: c, label: d}]}", "stages.one.meta.report.0.label is unknown; known: file, category, caption, labels"),
        ("3000", "stages.one.meta = 3000: Input should be a valid dictionary or instance of Meta"),
    ],
)  # fmt: skip
def test_a_mistake_under_meta_is_one_line(tmp_path, meta, line):
    file = tmp_path / "dvc.yaml"
    file.write_text(TOY.replace("{mem_mb: 100}", meta))
    with pytest.raises(UserError) as error:
        pipeline.load({}, file)
    assert str(error.value) == f"dvc.yaml: {line}"


def test_another_meta_changes_no_stage_for_dvc(tmp_path):
    def dvc(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    file = tmp_path / "dvc.yaml"
    file.write_text(TOY)
    dvc("init", "--no-scm", "-q")
    dvc("repro", "-q")
    assert dvc("status", "--json") == "{}\n"
    file.write_text(
        TOY.replace("mem_mb: 100", "mem_mb: 900, gpu: 2").replace("priority: 4", "x: y")
    )
    assert dvc("status", "--json") == "{}\n"
    file.write_text(TOY.replace("write('1')", "write('2')"))
    assert set(json.loads(dvc("status", "--json"))) == {"one", "many@a", "many@b"}


def test_addresses_are_those_of_the_stages_that_are_loaded_also_of_other_versions():
    tree = yaml_file.load(ROOT / "dvc.yaml", "")
    stages = pipeline.load({"paths": {"data": "data", "results": "results"}}, ROOT / "dvc.yaml")
    assert pipeline.addresses(tree) == list(stages)
    older = {"old": {"cmd": "make", "new key": 1}, "each": {"foreach": {"a": 1, "b": 2}, "do": {}}}
    assert pipeline.addresses({"stages": older}) == ["old", "each@a", "each@b"]
    assert [pipeline.addresses(odd) for odd in (None, [], {"stages": [1]})] == [[], [], []]
