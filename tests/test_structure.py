"""The house rules: layers, names, and the agreement of Snakefile, dvc.yaml, params.yaml, presets
and code.
"""

import ast
import os
import re
import subprocess
import sys

import pytest
import yaml

from llmill.contract import pipeline
from llmill.runner import params
from llmill.runner.tree import Params
from tests.conftest import ROOT, preset
from tests.imports import MODULES, imports

LAYERS = [
    {"commands", "model_commands", "__main__"},
    {"arena", "serve"},
    {
        "bits_per_byte",
        "by_time",
        "chat",
        "clean",
        "compare",
        "harness",
        "judge_pairs",
        "new_data",
        "plan",
        "rank",
        "show",
        "show_tokens",
        "results",
        "runs",
        "verify",
        "win_rate",
        "presets",
    },
    {"comparison", "models"},
    {"runner"},
    {"stages"},
    {"training", "evaluation", "report"},
    {"model", "text", "tasks", "world"},
    {"contract", "version"},
]
SIBLINGS = {  # the one arrow inside a layer: a model's checkpoint holds its tokenizer, tasks encode with it
    ("model", "text"),
    ("tasks", "text"),
}
BELOW = ("statistics", "matching", "inference")
ROOMS = {  # folders of a package, and which others of it each may import
    "evaluation": {
        **dict.fromkeys(BELOW, ()),
        **dict.fromkeys(("multiple_choice", "judging", "language"), BELOW),
        "classification": BELOW,
        "items": (),
        "contamination": (*BELOW, "items"),
    },
    "text": {
        "identity": (),
        "words": ("identity",),
        "normal": ("identity",),
        "halves": (),
        "settings": (),
        "files": (),
        "download": ("files", "settings"),
        "corpus": ("files", "download", "words", "identity", "halves", "settings"),
        "tokenization": ("files", "halves"),
    },
}
DATA_STAGES = ("paths", "code", "download", "prepare", "tokenizer", "tokenize")
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
TREE = preset("world")  # params.yaml may be anybody's own
STAGES = params.stages(TREE, ROOT / "dvc.yaml")
ENVIRONMENT = {**os.environ, "PYTHONPATH": "src"}
RULES = "\n".join(p.read_text() for p in sorted((ROOT / "workflow/rules").glob("*.smk")))


def layer(module: str) -> int:
    package = module.split(".")[1]
    return next(i for i, names in enumerate(LAYERS) if package in names)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "llmill"])
def test_imports_point_down(module):
    for other in imports(module):
        one, two = module.split(".")[1], other.split(".")[1]
        if one == two and (one != "stages" or other.startswith("llmill.stages.settings.")):
            continue
        allowed = (
            layer(module) < layer(other)
            or (one, two) in SIBLINGS
            or module in ("llmill.__main__", "llmill.commands", "llmill.model_commands")
        )
        assert allowed, f"{module} imports {other}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_of_a_package_import_only_those_below_them(package):
    begin, rooms = f"llmill.{package}.", ROOMS[package]

    def room(module: str) -> str:
        return module.removeprefix(begin).partition(".")[0]

    inside = [module for module in MODULES if module.startswith(begin)]
    assert {room(module) for module in inside} == set(rooms)
    for module in inside:
        for other in imports(module):
            if other.startswith(begin) and room(other) != room(module):
                assert room(other) in rooms[room(module)], f"{module} imports {other}"


def test_only_tracking_imports_mlflow():
    users = [
        m
        for m, file in MODULES.items()
        if re.search(r"^\s*(import|from) mlflow", file.read_text(), re.M)
    ]
    assert users == ["llmill.runner.tracking"]


def test_one_word_names_stage_module_rule_and_tests():
    names = list(DVC["stages"])
    modules = {
        m.rsplit(".", 1)[1]
        for m in MODULES
        if re.fullmatch(r"llmill\.stages\.\w+", m) and m != "llmill.stages.settings"
    }
    listed = subprocess.run(
        ["snakemake", "--list-rules"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rules = set(listed.stdout.split()) - {"all"}
    tests = {p.stem.removeprefix("test_") for p in (ROOT / "tests/stages").glob("test_*.py")}
    ahead = {f"{stage.name}_part" for stage in STAGES.values() if stage.meta.parts}
    assert sorted(names) == sorted(modules) == sorted(rules - ahead)
    assert ahead <= rules
    assert set(names) <= tests
    assert set(names) <= set(Params.model_fields) | {"code"}


def test_a_stage_lists_its_own_section_and_only_known_ones():
    for stage in STAGES.values():
        assert stage.name in stage.sections or stage.name == "code"  # which has none
        assert set(stage.sections) <= set(Params.model_fields) - {"name"}
        assert "paths" not in stage.sections or stage.name == "paths"


def test_a_variant_is_switched_by_its_own_name_and_each_switch_has_its_variant():
    for stage in STAGES.values():
        assert stage.switches == (
            (f"variants.{stage.variant}",) if stage.name == "classify" else ()
        )
    assert pipeline.variants(STAGES, "classify") == list(type(TREE.variants).model_fields)


def test_a_stage_has_one_output_named_like_itself_and_depends_on_no_folder_with_a_record():
    outs = {s.out for s in STAGES.values()}
    for stage in STAGES.values():
        root = "data" if stage.name in DATA_STAGES else "results"
        folder = ".llmill" if stage.name == "paths" else stage.name
        assert stage.out == "/".join(filter(None, (root, folder, stage.variant)))
        assert not outs & set(stage.deps)


def test_consumers_list_every_variant_and_never_the_parent_folder():
    for name, consumer, suffix in (("classify", "accuracy", "/scores.json"), ("judge", "report", "/metrics.json"),
                                   ("mmlu", "report", "/metrics.json"), ("classify", "report", "/metrics.json")):  # fmt: skip
        wanted = {f"results/{name}/{v}{suffix}" for v in pipeline.variants(STAGES, name)}
        assert wanted <= set(STAGES[consumer].deps)
        assert f"results/{name}" not in STAGES[consumer].deps


def test_metrics_and_plots_name_files_that_stages_declare():
    outs = tuple(s.out + "/" for s in STAGES.values())
    named = [*DVC["metrics"], *(f for plot in DVC["plots"] for p in plot.values() for f in p["y"])]
    assert all(path.startswith("${paths.results}/") for path in named)
    filled = [path.replace("${paths.results}", "results") for path in named]
    assert all(path.startswith(outs) for path in filled)
    assert filled[0] == STAGES["report"].out + "/metrics.json"


def test_nothing_is_kept_out_of_the_cache_and_commands_are_plain():
    text = (ROOT / "dvc.yaml").read_text()
    assert "cache:" not in text
    for stage in STAGES.values():
        assert re.fullmatch(r"python -m llmill \w+( [\w/]+)?", stage.cmd)


def test_params_yaml_as_committed_follows_the_world_preset():
    """Whoever changes the preset changes `params.yaml` with it, unless it holds parameters of
    their own.
    """

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else None

    changed = (git("log", "-1", "--format=%H", "--", "presets/world.yaml") or "").strip()
    before, after = (
        [git("show", f"{commit}:{file}") for file in ("params.yaml", "presets/world.yaml")]
        for commit in (f"{changed}^", changed)
    )
    if not changed or None in before or before[0] != before[1]:
        pytest.skip("no earlier commit in which params.yaml is the world preset")
    assert after[0] == after[1]


def test_rules_use_nothing_of_snakemake_but_its_documented_words():
    """Its objects change from version to version; `made` once read what they store."""
    assert not re.findall(r"\bworkflow\.\w+|\bpersistence\b|import snakemake|from snakemake", RULES)


def test_every_stage_says_what_memory_it_needs():
    assert [s.name for s in STAGES.values() if s.meta.mem_mb is None] == []


def test_every_caption_is_there_and_belongs_to_a_stage():
    used = [each.caption for stage in STAGES.values() for each in stage.meta.report]
    captions = {p.name for p in (ROOT / "workflow/report").glob("*.rst")} - {"workflow.rst"}
    assert sorted(used) == sorted(captions)


def test_importing_the_package_reads_no_file_and_loads_no_heavy_library():
    light = [
        "llmill.runner.params",
        "llmill.runner.stage",
        "llmill.runner.tracking",
        "llmill.__main__",
    ]
    code = f"import sys, {', '.join(light)}; print([m for m in ('torch', 'mlflow', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": "src", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_every_module_says_what_it_is_and_stays_readable():
    for module, file in MODULES.items():
        text = file.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
        assert text.count("\n") <= 400, f"{module} is too long"


def test_the_lock_file_holds_names_and_exact_versions_only():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    assert "torch==2.13.0" in lines


def test_git_ignores_what_is_made_and_no_package():
    def ignored(path: str) -> bool:
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        return done.returncode == 0

    made = [
        "data/download/x",
        "results/pretrain/x",
        "models/x",
        "scratch/x",
        "mlflow.db",
        "mlruns/x",
        "dvc_plots/x",
        ".mypy_cache/x",
    ]
    assert all(ignored(path) for path in made)
    assert not any(ignored(path) for path in ("src/llmill/data/x.py", "dvc.lock", "data/README.md"))


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_and_paths_in_the_docs_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:src|tests|workflow|profiles|benchmarks|docs)/[\w./]+)`", text)
    rooms = "|".join(sorted({name.split(".")[1] for name in MODULES if "." in name}))
    named += [f"src/llmill/{path}" for path in re.findall(rf"`((?:{rooms})/[\w/]+\.py)`", text)]
    named = [path for path in named if not re.search("NAME|STAGE", path)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_decision_is_in_the_index_and_the_readme_stays_short():
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(file.name for file in folder.glob("0*.md"))
    assert (ROOT / "README.md").read_text().count("\n") < 200
