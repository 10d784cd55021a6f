"""The reader of dvc.yaml agrees with DVC itself."""

import os

from dvc.repo import Repo

from llmill.contract import params, pipeline
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
    assert pipeline.variants(stages, "classify") == ["last_layer", "last_block", "all"]
    stage = stages["classify@all"]
    assert stage.cmd == "python -m llmill classify all"
    assert stage.out == "results/classify/all"
    assert "results/pretrain/checkpoint" in stage.data
    assert stage.code == ("data/code/classify.json",)
    assert not set(stage.code) & set(stage.data)


def test_parents_are_the_stages_whose_files_are_read():
    stages = read()
    assert [s.address for s in pipeline.parents(stages, stages["judge@pretrain"])] == [
        "instruct",
        "grader",
    ]
    assert pipeline.parents(stages, stages["paths"]) == []
