"""`llmill compare` on a repository whose chain was put into DVC's cache by hand."""

import hashlib
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from llmill.compare import compared, print_comparison
from llmill.comparison.cache import folder_hash
from llmill.contract import closure
from llmill.contract.errors import UserError
from tests.comparison.toy import CODE, Toy, out_of

CHANGES = "the only change upstream is tune.steps 10 → 20"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Toy(tmp_path)


def said(*words: object, width: int = 200, **options: object) -> str:
    """What is printed, white space as single spaces, without the lines of tables."""
    out = io.StringIO()
    try:
        print_comparison(*words, console=Console(file=out, width=width), **options)
    finally:
        text = re.sub(r"[│┃─━┏┓┗┛┡┩├┤┼╇╈┬┴┳┻└┘┌┐╞╡]", " ", out.getvalue())
    return " ".join(text.split())


def files(root: Path) -> dict[str, bytes]:
    """Everything below a folder but git's own."""
    found = (f for f in root.rglob("*") if f.is_file() and ".git" not in f.parts)
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in found}


def test_what_changed_which_figures_moved_and_by_what_is_said_and_nothing_is_touched(toy):
    toy.commit("Ten steps", toy.chain())
    toy.commit("Twenty steps", toy.chain(steps=20))
    before = files(toy.root)
    text = said("HEAD~1", "main")
    assert files(toy.root) == before
    assert "parameter tune.steps 10 20 tune" in text
    assert "tune 1 parameter – differs: metrics.json, model" in text
    assert "mmlu@tune – tune differs: metrics.json, questions.json" in text
    assert "2 of 5 stages did not change." in text
    assert "Cloze questions all questions 30.0 % 70.0 % +40.0 4 / 0 of 10 0.125" in text
    assert f"tune, mmlu@tune: {CHANGES}." in text


def test_on_a_narrow_terminal_figures_keep_their_names_and_their_numbers(toy):
    toy.commit("Ten steps", toy.chain())
    toy.commit("Twenty steps", toy.chain(steps=20))
    text = said("HEAD~1", "main", width=80)
    moved = text.partition("Headline metrics that moved")[2].partition("gained, lost")[0]
    for word in ("Cloze", "all", "30.0 %", "70.0 %", "+40.0", "4 / 0", "0.125"):
        assert word in moved


def test_a_run_between_tells_which_of_two_changes_moved_a_figure_and_how_far(toy):
    toy.commit("Before", toy.chain())
    toy.commit("After", toy.chain(steps=20, shots=2))
    alone = (
        "mmlu@tune: 2 changes upstream (mmlu.shots 0 → 2 and tune.steps 10 → 20), and DVC's cache has "
        "no run in between that separates them; at HEAD~1, `dvc exp run --temp -S mmlu.shots=2 "
        "mmlu@tune` makes one."
    )
    assert alone in said("HEAD~1", "HEAD")
    toy.chain(shots=2)
    text = said("HEAD~1", "HEAD")
    assert "the runs in between: mmlu.shots 0 → 2; then tune.steps 10 → 20." in text
    assert "mmlu.shots 0 → 2 30.0 % 50.0 % +20.0 2 / 0 of 10 0.500" in text
    assert "tune.steps 10 → 20 50.0 % 90.0 % +40.0 4 / 0 of 10 0.125" in text


def test_a_run_between_that_lost_its_figures_is_no_fault_of_the_sides(toy):
    toy.commit("Before", toy.chain())
    toy.commit("After", toy.chain(steps=20, shots=2))
    toy.chain(shots=2)
    toy.remove(hashlib.md5(json.dumps(mmlu_metrics(0.5)).encode()).hexdigest())
    text = said("HEAD~1", "HEAD")
    assert "mmlu.shots 0 → 2 30.0 % –" in text


def mmlu_metrics(share: float) -> dict:
    """As the toy has them."""
    return {"cloze": {"all": {"value": share, "low": 0.0, "high": 1.0, "n": 10}}}


def test_an_experiment_and_the_work_tree_are_compared_as_commits_are(toy):
    base = toy.commit("Base", toy.chain())
    commit = toy.commit("dvc: commit experiment 1", toy.chain(steps=20))
    toy.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/longer", commit)
    toy.git("reset", "-q", "--hard", base)
    text = said("workspace", "longer")
    assert f"after longer ({commit[:7]}) experiment from {base[:7]}" in text
    assert CHANGES in text


def test_the_same_values_in_another_commit_are_said_to_differ_in_nothing(toy):
    toy.commit("Before", toy.chain())
    toy.commit("A word", toy.chain())
    for name in ("mmlu/tune/metrics.json", "report/summary.json"):  # nothing need be there
        for file in toy.root.rglob(name):
            file.unlink()
    assert (
        "Nothing differs in the results: the parameters, code, packages and data that made them and "
        "all outputs of 5 stages are the same in dvc.lock."
    ) in said("HEAD~1", "HEAD")


def test_parameters_that_were_edited_after_the_runs_are_said(toy):
    toy.commit("Before", toy.chain())
    (toy.root / "params.yaml").write_text(
        "train: {lr: 0.1}\ntune: {steps: 11}\nmmlu: {shots: 0}\nruntime: {seed: 1}\nreport: {title: toy}\n"
    )
    text = said("HEAD", "workspace")
    assert "workspace: params.yaml was edited after the runs in dvc.lock: tune.steps" in text
    assert "Nothing differs in the results" in text


def test_a_key_that_has_come_into_an_empty_mapping_is_an_edit(toy):
    stages = toy.chain()
    stages["train"]["params"]["params.yaml"]["train"]["weights"] = {}
    toy.commit("Before", stages)
    edited = (toy.root / "params.yaml").read_text().replace("{}", "{world: 2.0}")
    (toy.root / "params.yaml").write_text(edited)
    text = said("HEAD", "workspace")
    assert "params.yaml was edited after the runs in dvc.lock: train.weights.world" in text


def test_files_that_were_edited_after_the_runs_are_said(toy):
    for name in ("src/a.py", "own/mine.txt"):
        (toy.root / name).parent.mkdir()
        (toy.root / name).write_text("before")
    stages = toy.chain()
    stages["code"]["deps"] = [{"path": "src", "md5": folder_hash({"a.py": md5(b"before")})}]
    stages["train"]["deps"] += [
        {"path": "own", "md5": folder_hash({"mine.txt": md5(b"before")})},
        {"path": "requirements.lock", "md5": md5(b"torch==2.0\n")},
    ]
    toy.commit("Before", stages)
    assert "edited after" not in said("HEAD", "workspace")
    (toy.root / "src/a.py").write_text("after!")
    (toy.root / "own/mine.txt").unlink()
    assert (
        "workspace: edited after the runs in dvc.lock: own, src; `llmill plan` shows what would run "
        "Nothing differs in the results"
    ) in said("HEAD", "workspace")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_code_is_compared_by_module_and_package_and_by_the_source_where_its_file_is_gone(toy):
    """The file of the side before is read from the cache; that of after is gone, its source there."""
    stages = toy.root / "src/llmill/stages"
    stages.mkdir(parents=True)
    for package in (stages.parent, stages):
        (package / "__init__.py").write_text('"""Package."""\n')
    for name in ("train", "tune", "mmlu", "report"):
        (stages / f"{name}.py").write_text(f'"""{name}."""\nfrom llmill import a\nimport torch\n')
    (stages.parent / "a.py").write_text("A = 2\n")
    locked = {"torch": "2.0"}
    tree = closure.SourceTree(toy.root / "src")
    now = closure.code_of(tree, "train", locked)
    now = {**now, "modules": {"llmill.a": now["modules"]["llmill.a"]}}
    toy.commit("Before", toy.chain())
    after = toy.chain(code=now, steps=20)
    toy.git("add", "src")
    toy.commit("After", after, requirements__lock="torch==2.0\nruff==1.0\n")
    text = said("HEAD~1", "HEAD")
    assert "code llmill.a 11111111" in text
    assert "package ruff not there 1.0 –" in text
    assert "tune 1 parameter, code" in text
    (code_file,) = {d["md5"] for d in after["train"]["deps"] if "code" in d["path"]}
    toy.remove(code_file)
    text = said("HEAD~1", "HEAD")
    assert "code llmill.a 11111111" in text
    assert "its source is not exactly the code that made its results" in text
    assert "code llmill.stages.train not there" in text


def test_code_that_nobody_has_any_more_is_said_to_differ(toy):
    before, after = toy.chain(), toy.chain(code={**CODE, "packages": {}})
    toy.commit("Before", before)
    toy.commit("After", after)
    for stages in (before, after):
        toy.remove(next(d["md5"] for d in stages["train"]["deps"]))
    text = said("HEAD~1", "HEAD")
    assert re.search(r"code of train \w{8} \w{8} train", text)


def test_a_page_holds_the_same_and_asks_nothing_of_the_network(toy, tmp_path):
    toy.commit("Ten <b>steps</b>", toy.chain())
    toy.commit("Twenty steps", toy.chain(steps=20, shots=2))
    toy.chain(steps=20)
    said("HEAD~1", "HEAD", file=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Ten &lt;b&gt;steps&lt;/b&gt;" in page
    assert (
        "DVC&#39;s cache has the runs in between: tune.steps 10 → 20; then mmlu.shots 0 → 2."
        in page
    )
    assert page.count("Cloze questions") == 2  # the figure, and its two steps
    assert "`" not in page
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page)


def test_a_page_that_cannot_be_written_is_one_line(toy, tmp_path):
    toy.commit("Before", toy.chain())
    toy.commit("After", toy.chain(steps=20))
    with pytest.raises(UserError, match=r"none/page\.html: cannot be written: No such file"):
        said("HEAD~1", "HEAD", file=tmp_path / "none/page.html")


def test_what_the_cache_lost_is_said_last_and_all_else_is_shown(toy):
    lost = toy.chain()
    first = toy.commit("Before", lost)
    toy.commit("After", toy.chain(steps=20))
    toy.remove(out_of(lost["mmlu@tune"]))
    toy.remove(out_of(lost["report"]))
    with pytest.raises(UserError) as raised:
        said("HEAD~1", "HEAD")
    assert str(raised.value) == (
        "not compared because they are not in DVC's cache: results/mmlu/tune, results/report of "
        f"HEAD~1 ({first[:7]}). `dvc fetch --all-commits` fetches the results in a remote, and `dvc "
        "exp pull` those of an experiment"
    )
    found = compared("HEAD~1", "HEAD")
    assert [row.output for row in found.stages] == [
        "differs: metrics.json, model",
        "differs",
        "differs",
    ]
    assert (found.headlines, found.alone) == ([], 1)
    assert found.reasons[-1].addresses == ["tune", "mmlu@tune"]


def test_a_stage_that_did_not_run_is_said_and_the_others_are_compared(toy):
    part = toy.chain()
    del part["report"], part["mmlu@tune"]
    first = toy.commit("Before", part)
    toy.commit("After", toy.chain(steps=20))
    text = said("HEAD~1", "HEAD")
    assert (
        f"HEAD~1 ({first[:7]}): dvc.lock has no run of mmlu@tune, report; run `dvc repro` there"
        in text
    )
    assert "mmlu@tune – – only after" in text
    assert f"tune: {CHANGES}." in text


def other_pipeline(toy: Toy) -> None:
    toy.commit("Before", toy.chain())
    stage = {"cmd": "make", "outs": [{"path": "x", "md5": "1" * 32}]}
    toy.commit("After", {"build": stage, "test": stage})


def no_lock(toy: Toy) -> None:
    toy.commit("Before", {})
    toy.commit("After", toy.chain())


def no_repository_of_ours(toy: Toy) -> None:
    toy.git("commit", "-q", "--allow-empty", "-m", "Empty")
    toy.commit("After", toy.chain())


def damaged(toy: Toy) -> None:
    toy.commit("Before", toy.chain(), params__yaml="a: [")
    toy.commit("After", toy.chain())


def nothing(toy: Toy) -> None:
    toy.commit("Before", toy.chain())
    toy.commit("After", toy.chain())


BAD = {
    "two pipelines": (
        other_pipeline, ("HEAD~1", "HEAD"),
        r"these are two pipelines: HEAD~1 \(\w{7}\) has the stages code, train, tune, mmlu@tune \.\.\., and HEAD \(\w{7}\) has the stages build, test",
    ),
    "a lock without stages": (no_lock, ("HEAD~1", "HEAD"), r"HEAD~1 \(\w{7}\): its dvc.lock lists no stage; run `dvc repro` there"),
    "no repository of ours": (no_repository_of_ours, ("HEAD~1", "HEAD"), r"HEAD~1 \(\w{7}\): has no dvc.lock, so it is not a state of an llmill repository"),
    "a damaged file": (damaged, ("HEAD~1", "HEAD"), r"HEAD~1 \(\w{7}\): params.yaml: not YAML: .*"),
    "one commit": (nothing, ("HEAD", "main"), r"HEAD \(\w{7}\) and main \(\w{7}\) are the same commit, so nothing differs"),
    "a name of nothing": (
        nothing, ("HEAD", "longer"),
        r"longer: not a git revision, a DVC experiment \(`dvc exp list --all-commits` lists them; a removed one is gone\) or an MLflow run \(`llmill runs` lists them\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_compared_is_one_line(toy, name):
    makes, words, line = BAD[name]
    makes(toy)
    with pytest.raises(UserError) as raised:
        compared(*words)
    assert re.fullmatch(line, str(raised.value))
