"""The plan of a finished toy chain after each of many edits, beside what `dvc repro` then does."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo

from llmill.contract import pipeline, record
from llmill.contract.errors import UserError
from llmill.plan.dry_run import Forecast, foresee
from llmill.runner import params
from tests.plan import toy

OLDER = {"form": 0}
Planned = dict[str, tuple[str, list[str]]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A toy repository whose chain ran twice, with two values, the second of which it holds."""
    root = tmp_path_factory.mktemp("plan") / "finished"
    root.mkdir()
    toy.write(root)
    assert toy.done(toy.dvc(root, "repro")) == dict.fromkeys(toy.ALL, "run")
    replace(root, "params.yaml", "passage_words: 400", "passage_words: 300")
    toy.dvc(root, "repro")
    return root


@pytest.fixture
def chain(finished, tmp_path, monkeypatch) -> Path:
    root = tmp_path / "a chain"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    for name, value in toy.environment().items():
        monkeypatch.setenv(name, value)
    return root


def replace(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda root: replace(root, file, old, new)


def plan() -> dict[str, Forecast]:
    tree = params.load()
    return foresee(tree, pipeline.load({"paths": tree.paths.model_dump()}))


CODE = ("run", ["src/llmill changed"])
DEPTH = "src/llmill/toys/depth.py"
CASES: dict[str, tuple[Callable[[Path], None], Planned, dict[str, str]]] = {
    "a parameter of report": (
        edit("params.yaml", 'title: "llmill: the world"', "title: ours"),
        {"report": ("run", ["report.title 'llmill: the world', now 'ours'"])},
        {"report": "run"},
    ),
    "a parameter of a middle stage, whose result is what it was": (
        edit("params.yaml", "validate_share: 0.02", "validate_share: 0.03"),
        {
            "prepare": ("run", ["prepare.validate_share 0.02, now 0.03"]),
            "pretrain": ("may run", ["after prepare"]),
            "report": ("run", ["after prepare, pretrain"]),
        },
        {"prepare": "run", "report": "run"},
    ),
    "a parameter of a middle stage, whose result is another": (
        edit("params.yaml", "passage_words: 300", "passage_words: 200"),
        {
            "prepare": ("run", ["prepare.passage_words 300, now 200"]),
            "pretrain": ("may run", ["after prepare"]),
            "report": ("run", ["after prepare, pretrain"]),
        },
        {"prepare": "run", "pretrain": "run", "report": "run"},
    ),
    "a comment in a module": (
        edit(DEPTH, "DEPTH = 3", "DEPTH = 3  # steps"),
        {"code": CODE},
        {"code": "run"},
    ),
    "a docstring": (
        edit(DEPTH, "How deep", "How very deep"),
        {"code": CODE},
        {"code": "run"},
    ),
    "a constant in a module of one stage": (
        edit(DEPTH, "DEPTH = 3", "DEPTH = 4"),
        {
            "code": CODE,
            "pretrain": ("run", ["llmill.toys.depth changed"]),
            "report": ("may run", ["after pretrain"]),
        },
        {"code": "run", "pretrain": "run"},
    ),
    "a row of a table of the world": (
        edit(
            "src/llmill/world/tables/cities.csv", "\nMilan,Italy\n", "\nMilan,Italy\nLlmill,Italy\n"
        ),
        {
            "code": CODE,
            "download": ("run", ["llmill/world/tables/cities.csv changed"]),
            "prepare": ("may run", ["after download"]),
            "pretrain": ("may run", ["after prepare"]),
            "report": ("run", ["after download, prepare, pretrain"]),
        },
        dict.fromkeys(toy.ALL[1:], "run"),
    ),
    "another torch": (
        edit("requirements.lock", "torch==2.13.0", "torch==2.14.0"),
        {
            "code": ("run", ["requirements.lock changed"]),
            "pretrain": ("run", ["torch 2.13.0, now 2.14.0"]),
            "report": ("may run", ["after pretrain"]),
        },
        {"code": "run", "pretrain": "run"},
    ),
    "another ruff": (
        edit("requirements.lock", "ruff==0.17.5", "ruff==0.18.0"),
        {"code": ("run", ["requirements.lock changed"])},
        {"code": "run"},
    ),
    "an old value put back": (
        edit("params.yaml", "passage_words: 300", "passage_words: 400"),
        {
            "prepare": ("restore", ["prepare.passage_words 300, now 400"]),
            "pretrain": ("restore", ["data/prepare/words changed"]),
            "report": (
                "restore",
                ["data/prepare/record.json changed", "results/pretrain/metrics.json changed"],
            ),
        },
        {"prepare": "restore", "pretrain": "restore", "report": "restore"},
    ),
    "a deleted result": (
        lambda root: shutil.rmtree(root / "results/pretrain"),
        {"pretrain": ("restore", ["results/pretrain: missing"])},
        {"pretrain": "restore"},
    ),
    "an edited result": (
        lambda root: (root / "results/pretrain/checkpoint/weights").write_text("mine"),
        {"pretrain": ("restore", ["results/pretrain/checkpoint/weights edited"])},
        {"pretrain": "restore"},
    ),
    "no dvc.lock": (
        lambda root: (root / "dvc.lock").unlink(),
        {stage: ("restore", ["dvc.lock names no result of it"]) for stage in toy.ALL},
        dict.fromkeys(toy.ALL, "restore"),
    ),
    "a deleted result that no cache holds": (
        lambda root: (shutil.rmtree(root / "data/prepare"), shutil.rmtree(root / ".dvc/cache")),
        {
            "paths": ("run", ["data/.llmill: not in DVC's cache"]),
            "code": ("run", ["data/code: not in DVC's cache"]),
            "download": ("run", ["data/download: not in DVC's cache"]),
            "prepare": (
                "run",
                ["data/prepare: missing, and not in DVC's cache", "after download"],
            ),
            "pretrain": ("run", ["results/pretrain: not in DVC's cache", "after prepare"]),
            "report": (
                "run",
                ["results/report: not in DVC's cache", "after download, prepare, pretrain"],
            ),
        },
        dict.fromkeys(toy.ALL, "run"),
    ),
}


def rewrite(root: Path, *files: str) -> None:
    """Give files another form, and make DVC take it."""
    for file in files:
        record.write_json(root / file, OLDER)
    toy.dvc(root, "commit", "-f", "-q")


@pytest.mark.parametrize("name", CASES)
def test_the_plan_after_an_edit_is_what_dvc_then_does(chain, name, caplog):
    change, expected, does = CASES[name]
    change(chain)
    planned = plan()
    told = {s: (o.verdict, o.reasons) for s, o in planned.items() if o.verdict != "leave"}
    assert told == expected
    assert list(planned) == toy.ALL
    with caplog.at_level(logging.INFO, "dvc"), Repo() as repo:
        repo.reproduce()
    done = toy.done(caplog.text)
    assert done == {**dict.fromkeys(toy.ALL, "leave"), **does}
    certain = {stage: o.verdict for stage, o in planned.items() if o.verdict != "may run"}
    assert certain.items() <= done.items()
    assert all(forecast.verdict == "leave" for forecast in plan().values())


def test_files_of_an_older_form_make_the_plan_less_certain_and_never_wrong(chain):
    rewrite(chain, "data/prepare/record.json", "data/code/pretrain.json")
    assert {forecast.verdict for forecast in plan().values()} == {"leave"}
    replace(chain, "params.yaml", "validate_share: 0.02", "validate_share: 0.03")
    replace(chain, DEPTH, "DEPTH = 3", "DEPTH = 4")
    planned = plan()
    assert planned["prepare"] == Forecast("run", ["prepare.validate_share 0.02, now 0.03"])
    why = ["its code changed; what it was is not known", "after prepare"]
    assert planned["pretrain"] == Forecast("run", why)
    assert planned["report"] == Forecast("may run", ["after prepare, pretrain"])


def add_tickets(root: Path) -> None:
    """A file that `dvc add` put under DVC, as a clone has it; DVC stops there, too."""
    (root / "own").mkdir(exist_ok=True)
    replace(
        root,
        "dvc.yaml",
        '["${paths.data}/code/download.json"]',
        '["${paths.data}/code/download.json", own]',
    )
    tickets = {"md5": "d41d8cd98f00b204e9800998ecf8427e", "size": 0, "path": "tickets.csv"}
    record.write_json(root / "own/tickets.csv.dvc", {"outs": [tickets]})
    refused = toy.run(root, "dvc", "repro")
    assert "missing data 'source': own/tickets.csv" in refused.stderr


def read_own(root: Path) -> Path:
    """Let a stage read the folder of one's own files."""
    (root / "own").mkdir(exist_ok=True)
    replace(root, "dvc.yaml", '["${paths.data}/code/download.json"]', "[own]")
    return root / "own"


def add_broken_link(root: Path) -> None:
    (read_own(root) / "tickets.csv").symlink_to("nowhere")


def add_name_in_latin_1(root: Path) -> None:
    (read_own(root) / os.fsdecode(b"caf\xe9.csv")).write_text("x")


BROKEN = {
    "a link that leads nowhere": (
        add_broken_link,
        "own/tickets.csv: DVC cannot read it (No such file or directory); remove or rename it, or "
        "name it in .dvcignore",
    ),
    "a name in Latin-1": (
        add_name_in_latin_1,
        "own/caf\udce9.csv: DVC cannot read it (not UTF-8); remove or rename it, or name it in "
        ".dvcignore",
    ),
    "parameters": (
        edit("params.yaml", "passage_words: ", "passage_word: "),
        "params.yaml: unknown parameter 'prepare.passage_word'; did you mean 'passage_words'?",
    ),
    "dvc.lock": (
        lambda root: (root / "dvc.lock").write_text("<<<<<<< HEAD\n"),
        "DVC: './dvc.lock' validation failed",
    ),
    "a source that is not there": (
        lambda root: (root / "src/llmill/stages/paths.py").unlink(),
        "src/llmill/stages/paths.py: missing; `dvc repro` would stop at paths",
    ),
    "source that is no Python": (
        edit(DEPTH, "DEPTH = 3", "DEPTH ="),
        "src/llmill/toys/depth.py, line 3: invalid syntax",
    ),
    "a file under DVC that is not here": (
        add_tickets,
        "own/tickets.csv: it is not here; `dvc pull own/tickets.csv` brings it",
    ),
    "a folder without DVC": (
        lambda root: shutil.rmtree(root / ".dvc"),
        "DVC: you are not inside of a DVC repository (checked up to mount point '/')",
    ),
}


def test_the_lock_of_an_editor_is_no_part_of_a_folder(chain):
    """Emacs links `.#FILE` to no file while an edit is not saved."""
    for folder in (chain / "src/llmill/stages", chain):
        (folder / ".#paths.py").symlink_to("me@host.1234:5678")
    assert {forecast.verdict for forecast in plan().values()} == {"leave"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_planned_is_one_line(chain, name):
    breaks, said = BROKEN[name]
    breaks(chain)
    with pytest.raises(UserError) as refused:
        plan()
    assert str(refused.value) == said
