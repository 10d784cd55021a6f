"""`llmill preset`: what it lists, what it writes, what it refuses to replace."""

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llmill import presets
from llmill.contract import record, yaml_file
from llmill.contract.errors import UserError
from llmill.runner import params
from llmill.runner.tree import Params
from tests.conftest import ROOT, preset, preset_text, preset_values

NAMES = ["world", "book", "continued", "gutenberg", "longer", "masked", "smoke"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with the presets, and nothing chosen yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "presets").mkdir()
    for name in NAMES:
        (tmp_path / f"presets/{name}.yaml").write_bytes(
            (ROOT / f"presets/{name}.yaml").read_bytes()
        )
    return tmp_path


def git(*words: str) -> None:
    user = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *user, *words], check=True, capture_output=True)


def edited(here: Path) -> str:
    """params.yaml with an edit of one's own."""
    presets.write("world", ["pretrain.training.max_steps=7"], force=False)
    return (here / "params.yaml").read_text()


# What a preset is.


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_fits_the_schema_and_says_what_it_is_and_takes_and_needs(name):
    assert preset(name).name == name
    said = presets.description(name, ROOT / "presets")
    assert all((said.what, said.needs, said.takes))
    assert preset_text(name).startswith(
        (ROOT / f"presets/{name}.yaml").read_text().split("\n\n")[0]
    )


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_preset_holds_what_differs_from_the_world_and_no_more(name):
    world, own = (record.flat(preset_values(each)) for each in ("world", name))
    given = record.flat(yaml_file.load(ROOT / f"presets/{name}.yaml", ""))
    assert [key for key, value in given.items() if world.get(key, ...) == value] == []
    assert {key for key in own if own[key] != world.get(key, ...)} == given.keys()


CHOSEN = [
    ("gutenberg", "prepare.weights", {"gutenberg": 1.0}),
    ("gutenberg", "model.n_embd", 192),
    ("gutenberg", "model.n_layer", 4),  # the world's
    ("gutenberg", "pretrain.training.optimizer.betas", [0.9, 0.95]),  # the world's
    ("gutenberg", "pretrain.training.optimizer.lr", 0.006),
    ("book", "model", {"shape": "init", "dropout": 0.1}),
    ("book", "pretrain.training.optimizer.lr", 5e-5),
    ("book", "classify.training.optimizer.betas", [0.9, 0.999]),
    ("continued", "model", {"shape": "init"}),
    ("continued", "prepare.weights", {"news": 1.0, "world": 0.3}),
    ("longer", "model", {"shape": "init", "block_size": 512, "rotary_base": 40000.0}),
    ("masked", "pretrain.samples.prompts", []),
    ("smoke", "grader.training.schedule.warmup_steps", 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dotted", "value"), CHOSEN)
def test_sections_are_merged_but_lists_weights_and_a_named_shape_replaced(name, dotted, value):
    node = preset(name).model_dump(mode="json")
    for key in dotted.split("."):
        node = node[key]
    assert node == value


def test_mappings_whose_keys_are_no_parameters_are_replaced():
    """Every other mapping is a section, whose keys the schema knows."""
    found = []

    def visit(section, path):
        for name, field in section.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                visit(field.annotation, (*path, name))
            elif str(field.annotation).startswith("dict"):
                found.append((*path, name))

    visit(Params, ())
    assert set(found) == presets.WHOLE


def test_lines_that_stay_keep_their_comments_and_others_bring_theirs():
    lines = preset_text("masked").splitlines()
    assert "name: masked  # the MLflow experiment" in lines
    assert (
        "  causal: false  # false: every token attends to the whole text, for pretrain.objective masked"
        in lines
    )
    assert "    prompts: []  # a masked model writes no text" in lines
    assert "  norm_epsilon: 1.0e-5" in lines
    assert "    epochs: null" in lines
    assert (
        "    optimizer: {kind: muon, lr: 0.008, muon_lr: 0.03, weight_decay: 0.0, betas: [0.9, 0.95]}"
        in lines
    )


# Writing one.


def test_presets_follow_one_another_back_to_the_world(here, capsys):
    for name in (*NAMES, "world"):
        presets.write(name, [], force=False)
        assert params.load().name == name
    assert (here / "params.yaml").read_bytes() == (ROOT / "presets/world.yaml").read_bytes()
    assert "params.yaml: preset masked\n A masked foundation" in capsys.readouterr().out


def test_edits_that_git_does_not_have_are_not_replaced(here):
    mine = edited(here)
    line = (
        "params.yaml: has edits that git has not committed; commit them, or "
        "`llmill preset gutenberg --force` replaces them"
    )
    states = {
        "no repository": lambda: None,
        "untracked": lambda: git("init", "-q"),
        "ignored": lambda: Path(".gitignore").write_text("/params.yaml\n"),
        "staged": lambda: git("add", "-f", "params.yaml"),
    }
    for step in states.values():
        step()
        with pytest.raises(UserError) as error:
            presets.write("gutenberg", [], force=False)
        assert str(error.value) == line
        assert (here / "params.yaml").read_text() == mine
    git("commit", "-qm", "mine")
    presets.write("gutenberg", [], force=False)
    assert params.load().name == "gutenberg"


def test_force_replaces_them(here):
    edited(here)
    presets.write("gutenberg", [], force=True)
    assert (here / "params.yaml").read_text() == preset_text("gutenberg")


def test_without_git_what_a_preset_made_is_known(here, monkeypatch):
    monkeypatch.setenv("PATH", "")
    presets.write("smoke", [], force=False)
    presets.write("masked", [], force=False)
    edits = (here / "params.yaml").read_text() + "# mine\n"
    (here / "params.yaml").write_text(edits)
    with pytest.raises(UserError, match="git has not committed"):
        presets.write("smoke", [], force=False)


def test_a_preset_of_ones_own_that_does_not_fit_is_named_and_stops_no_other(here, capsys):
    (here / "presets/mine.yaml").write_text("# mine\npretrain: {sed: 1}\n")
    (here / "presets/odd.yaml").write_text("a: [1\n")
    with pytest.raises(
        UserError, match=r"^presets/mine.yaml: unknown parameter 'pretrain.sed'; did"
    ):
        presets.write("mine", [], force=False)
    assert not (here / "params.yaml").exists()
    presets.write("smoke", [], force=False)
    presets.write("masked", [], force=False)
    presets.print_list()
    assert "odd        presets/odd.yaml: not YAML: line 2" in capsys.readouterr().out


# Changing values.


def test_set_changes_single_values_and_leaves_every_other_byte(here):
    presets.write("world", [], force=False)
    text = (here / "params.yaml").read_text()
    presets.change(["pretrain.training.max_steps=100", "runtime.dtype=bfloat16"])
    presets.change(["pretrain.training.optimizer.lr=1.0e-3", "report.title=my, own"])
    changes = {
        "max_steps: 1340": "max_steps: 100",
        "dtype: float32  # auto |": "dtype: bfloat16  # auto |",
        "{kind: muon, lr: 0.008": "{kind: muon, lr: 1.0e-3",
        '"llmill: the world"': '"my, own"',
    }
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert (here / "params.yaml").read_text() == text


def test_set_takes_any_yaml_where_it_is_put_between_braces(here):
    presets.write("world", ['name="x #2"', "model=shape: gpt2-124m"], force=False)
    tree = params.load()
    assert (tree.name, tree.model.n_embd) == ("x #2", 768)


def test_set_beside_a_name_changes_what_the_preset_says(here):
    changes = ["model={shape: init, block_size: 128}", "prepare.weights.world=0.5"]
    presets.write("continued", changes, force=False)
    tree = params.load()
    assert tree.model.model_dump() == {"shape": "init", "block_size": 128}
    assert tree.prepare.weights == {"news": 1.0, "world": 0.5}


def test_set_adds_what_may_be_left_out(here):
    presets.write("longer", ["model.dropout=0.1"], force=False)
    assert "\n  dropout: 0.1\n\npretrain:" in (here / "params.yaml").read_text()


WRONG = [
    ("pretrain.sed=1", "params.yaml: unknown parameter 'pretrain.sed'; did you mean 'seed'?"),
    ("pretrian.seed=1", "params.yaml: unknown parameter 'pretrian'; did you mean 'pretrain'?"),
    ("pretrain.seed.x=1", "params.yaml: pretrain.seed: Input should be a valid integer"),
    ("pretrain.seed=one", "params.yaml: pretrain.seed = 'one': Input should be a valid integer"),
    ("pretrain.seed", "--set pretrain.seed: expected key=value, such as pretrain.training.max_steps=100"),
    ("pretrain.seed=", "--set pretrain.seed=: expected key=value, such as"),
    ("=1", "--set =1: expected key=value"),
    ("report.title=[", "--set report.title=[: not YAML: line 1"),
    ("report.title=#1", "--set report.title=#1: a comment begins at '#'; put quotes round"),
    ("report.title=Run #2", "--set report.title=Run #2: a comment begins at '#'; put quotes round"),
    ("model.shape=init", "params.yaml: unknown parameter 'model.n_layer'"),
    ("pretrain.training.epochs=1.0", "params.yaml: pretrain.training: give exactly one of max_steps and epochs"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "line"), WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_change_is_one_line_and_nothing_is_written(here, word, line):
    (here / "params.yaml").write_text(preset_text("world"))
    for change in (presets.change, lambda words: presets.write("world", words, force=True)):
        with pytest.raises(UserError) as error:
            change([word])
        assert str(error.value).startswith(line)
        assert "\n" not in str(error.value)
    assert (here / "params.yaml").read_text() == preset_text("world")


# The command, as it is typed.


def llmill(folder: Path, *words: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **options.pop("environment", {})}
    return subprocess.run(
        [sys.executable, "-m", "llmill", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


def test_in_a_pipe_the_presets_are_aligned_lines_and_the_present_one_is_marked(here):
    assert llmill(here, "preset", "smoke").returncode == 0
    lines = llmill(here, "preset").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == [*NAMES[:-1], "smoke *"]
    starts = {line.index(presets.description(name).needs) for name, line in zip(NAMES, lines[1:], strict=False)}  # fmt: skip
    assert starts == {lines[0].index("needs")}


def test_a_preset_that_does_not_exist_is_answered_with_the_nearest_or_all(here):
    done = llmill(here, "preset", "gutenburg")
    assert (done.returncode, done.stderr) == (
        1,
        "llmill: no preset 'gutenburg'; did you mean 'gutenberg'?\n",
    )
    done = llmill(here, "preset", "../params")
    assert done.stderr == f"llmill: no preset '../params'; known: {', '.join(NAMES)}\n"
    assert llmill(here, "preset", "--set", "runtime.dtype=bfloat16").stderr == (
        "llmill: params.yaml: no such file; `llmill preset world` makes one\n"
    )


PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").glob("*.md")})
COMMANDS = [
    line.strip() for page in PAGES for line in page.read_text().splitlines()
    if line.startswith("    llmill preset ")
] + re.findall(r"`(llmill preset [^`]*--set [^`]*)`", "\n".join(p.read_text() for p in PAGES))  # fmt: skip


@pytest.mark.parametrize("command", sorted({c for c in COMMANDS if "KEY=VALUE" not in c}))
def test_what_the_pages_set_fits(here, command):
    (here / "presets/smollm2.yaml").write_bytes((ROOT / "presets/smollm2.yaml").read_bytes())
    presets.write("world", [], force=False)
    _, _, *words = shlex.split(command.partition("&&")[0])
    name = None if words[0] == "--set" else words.pop(0)
    changes = words[1::2]
    assert set(words[::2]) <= {"--set"}
    if name is None:
        presets.change(changes)
    else:
        presets.write(name, changes, force=True)


def test_where_nothing_can_be_written_that_is_one_line(here):
    """A folder of somebody else, as a read-only clone is."""
    if os.getuid() == 0:
        (here / "params.yaml.tmp").mkdir()  # root may write everywhere
        reason = os.strerror(errno.EISDIR)
    else:
        here.chmod(0o500)
        reason = os.strerror(errno.EACCES)
    done = llmill(here, "preset", "gutenberg")
    assert (done.returncode, done.stderr) == (
        1,
        f"llmill: params.yaml: cannot be written: {reason}\n",
    )


def test_a_shell_completes_the_names_of_presets(here):
    asked = {
        "_LLMILL_COMPLETE": "complete_bash",
        "COMP_WORDS": "llmill preset g",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['llmill']; from llmill.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **asked},
        cwd=here, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["gutenberg"]


def test_a_link_stays_one_and_the_file_that_it_leads_to_is_written(here):
    (here / "mine").mkdir()
    (here / "params.yaml").symlink_to("mine/params.yaml")
    presets.write("smoke", [], force=True)
    assert (here / "params.yaml").is_symlink()
    assert (here / "mine/params.yaml").read_text() == presets.text("smoke")
    presets.change(["pretrain.training.max_steps=7"])
    assert (here / "params.yaml").is_symlink()
    with pytest.raises(UserError, match="has edits that git has not committed"):
        presets.write("world", [], force=False)
    assert params.load().pretrain.training.max_steps == 7
