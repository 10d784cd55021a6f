"""Stage download: the layout that it writes, from local files, a server, the real data and the world."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import pytest
import yaml

from llmill.contract.errors import UserError
from llmill.contract.record import files_under
from llmill.stages.download import Parameters, run
from llmill.stages.settings.download import Download, OwnQuestions, OwnTable, OwnText
from llmill.text.download import sources, transfer
from llmill.world.settings import World
from tests.conftest import ROOT
from tests.jobs import Job
from tests.model import ggufs
from tests.text.server import serving

WORLD = World(seed=1, repeats=2, messages=60, instructions=60, questions=4)
CONTENT = {
    "in/book.txt": b"It was a dark night.\n",
    "in/mail.tsv": b"ham\thello\nspam\tbuy\n",
    "in/readme": b"cite us\n",
    "in/tasks.json": b"[]\n",
    "in/pairs.json": b"[{}]\n",
    "in/dev/a_dev.csv": b"q,1,2,3,4,A\n",
    "in/val/a_val.csv": b"q,1,2,3,4,B\n",
    "in/test/a_test.csv": b"q,1,2,3,4,C\n",
}
SOURCES = {
    "book": ("text", "prose", ["in/book.txt"]),
    "mail": ("classification", None, ["in/mail.tsv", "in/readme"]),
    "tasks": ("instruction", None, ["in/tasks.json"]),
    "pairs": ("preference", None, ["in/pairs.json"]),
    "quiz": ("mmlu", None, ["in/dev/a_dev.csv", "in/val/a_val.csv", "in/test/a_test.csv"]),
}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def a_table(url="{path}", pinned=True):
    """A source for each role, whose files lie at `url`."""
    tree = {}
    for name, (role, form, paths) in SOURCES.items():
        files = [
            {
                "path": path,
                "note": path == "in/readme",
                "bytes": len(CONTENT[path]) if pinned else None,
                "sha256": sha256(CONTENT[path]) if pinned else None,
                "urls": [url.format(path=path)],
            }
            for path in paths
        ]
        form = {"format": form} if form else {}
        tree[name] = {"title": name, "role": role, **form, "licence": "mine", "files": files}
    return yaml.safe_dump(tree)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A repository with a table and the files in it; `desk.run()` runs the stage into a new folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMILL_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for path, content in CONTENT.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "sources.yaml").write_text(a_table())
    desk = SimpleNamespace(root=tmp_path, out=tmp_path / "out")

    def run_it(**roles):
        named = {"classification": "mail", "instruction": "tasks", "preference": "pairs"}
        none = {"tokenizer": None, "init": None}
        section = Download(
            **{"text": ["book"], **named, "mmlu": "quiz", **none, **roles},
            retries=0,
            timeout=20.0,
            at_once=3,
            world=WORLD,
        )
        shutil.rmtree(desk.out, ignore_errors=True)
        job = Job(desk.out)
        desk.said, desk.tracked = job.said, job.track.datasets
        job.stage.out = "data/download"
        run(Parameters(download=section), job)
        return desk.out

    desk.run = run_it
    return desk


def names(folder):
    return [path.relative_to(folder).as_posix() for path in files_under(folder)]


def listed(out, role):
    return json.loads((out / role / "sources.json").read_text())


def test_every_role_gets_its_folder_and_its_list(desk):
    assert names(desk.run()) == [
        "classification/SMSSpamCollection",
        "classification/readme",
        "classification/sources.json",
        "init/sources.json",
        "instruction/sources.json",
        "instruction/tasks.json",
        "metrics.json",
        "mmlu/dev/a_dev.csv",
        "mmlu/sources.json",
        "mmlu/test/a_test.csv",
        "mmlu/val/a_val.csv",
        "preference/pairs.json",
        "preference/sources.json",
        "text/book/book.txt",
        "text/sources.json",
        "tokenizer/sources.json",
    ]
    assert (desk.out / "classification/SMSSpamCollection").read_bytes() == CONTENT["in/mail.tsv"]


def test_own_files_are_copied_and_the_list_says_how_they_are_read(desk):
    (desk.root / "own").mkdir()
    (desk.root / "own/tickets.csv").write_bytes(b"subject,queue\nhi,a\n")
    (desk.root / "own/novel.txt").write_bytes(b"It was late.\n")
    (desk.root / "own/quiz.csv").write_bytes(b"q,x,y,right\nWhich?,1,2,A\n")
    (desk.root / "own/shots.csv").write_bytes(b"q,x,y,right\nWhen?,1,2,A\n")
    tickets = OwnTable(file="own/tickets.csv", text="subject", label="queue")
    quiz = OwnQuestions(
        file="own/quiz.csv", question="q", choices=["x", "y"], answer="right", dev="own/shots.csv"
    )
    texts = ["world", OwnText(file="own/novel.txt"), "book"]
    out = desk.run(classification=tickets, text=texts, mmlu=quiz)
    (entry,) = listed(out, "classification")
    assert entry == {
        "name": "own/tickets.csv",
        "title": "Own file own/tickets.csv",
        "licence": "one's own",
        "own": {
            "file": "own/tickets.csv", "encoding": None, "text": ["subject"], "label": "queue",
            "split": None, "test": None, "delimiter": None, "quotes": True,
        },
        "files": [{
            "path": "tickets.csv", "bytes": 19, "sha256": sha256(b"subject,queue\nhi,a\n"),
        }],
    }  # fmt: skip
    assert (out / "classification/tickets.csv").read_bytes() == b"subject,queue\nhi,a\n"
    texts = listed(out, "text")
    assert [text["name"] for text in texts] == ["world", "novel", "book"]
    assert (texts[1]["format"], texts[1]["files"][0]["path"]) == ("prose", "novel/novel.txt")
    assert texts[1]["own"] == {"file": "own/novel.txt"}
    assert (out / "text/novel/novel.txt").read_bytes() == b"It was late.\n"
    (asked,) = listed(out, "mmlu")
    assert asked["own"] == {
        "file": "own/quiz.csv", "encoding": None, "question": "q", "choices": ["x", "y"],
        "answer": "right", "subject": None, "dev": "own/shots.csv",
    }  # fmt: skip
    assert names(out / "mmlu") == ["quiz.csv", "shots.csv", "sources.json"]


def test_a_role_may_be_null_and_the_world_gives_those_that_ask_for_it(desk):
    out = desk.run(instruction=None, preference=None, mmlu="world")
    for role in ("instruction", "preference"):
        assert listed(out, role) == []
        assert names(out / role) == ["sources.json"]
    assert listed(out, "mmlu")[0]["name"] == "world"
    assert [text["name"] for text in listed(out, "text")] == ["book"]
    assert names(out / "text") == ["book/book.txt", "sources.json"]


def test_an_own_file_that_is_not_there_is_said_before_anything_is_fetched(desk):
    (desk.root / "own").mkdir()
    (desk.root / "own/tickets.csv").write_bytes(b"subject,queue\nhi,a\n")
    (desk.root / "own/large.csv.dvc").write_bytes(b"outs: []\n")
    for file, said in [
        ("own/ticket.csv", "own/ticket.csv is not there; did you mean own/tickets.csv"),
        ("own/other/b.csv", "own/other/b.csv is not there; copy it into own/other/"),
        ("own/large.csv", "own/large.csv is not here; `dvc pull own/large.csv` brings it"),
    ]:
        table = OwnTable(file=file, text="subject", label="queue")
        with pytest.raises(UserError, match=rf"params.yaml: download.classification: {said}"):
            desk.run(classification=table)
        assert not names(desk.out)


def test_an_own_file_below_a_linked_folder_is_refused(desk):
    """Neither DVC nor Snakemake would see an edit of it."""
    (desk.root / "own").mkdir()
    (desk.root / "large").mkdir()
    (desk.root / "large/tickets.csv").write_bytes(b"subject,queue\nhi,a\nyou,b\n")
    (desk.root / "own/data").symlink_to(desk.root / "large")
    (desk.root / "own/one.csv").symlink_to(desk.root / "large/tickets.csv")
    with pytest.raises(
        UserError, match="own/data is a link to a folder, in which nobody would see"
    ):
        desk.run(
            classification=OwnTable(file="own/data/tickets.csv", text="subject", label="queue")
        )
    desk.run(classification=OwnTable(file="own/one.csv", text="subject", label="queue"))


def test_the_list_says_what_lies_there_and_under_which_licence(desk):
    content = CONTENT["in/book.txt"]
    assert listed(desk.run(), "text") == [
        {
            "name": "book",
            "title": "book",
            "licence": "mine",
            "format": "prose",
            "files": [{"path": "book/book.txt", "bytes": 21, "sha256": sha256(content)}],
        }
    ]
    assert listed(desk.out, "tokenizer") == []
    assert "format" not in listed(desk.out, "mmlu")[0]


def test_the_list_says_how_rows_of_text_are_read(desk):
    tree = yaml.safe_load(a_table(pinned=False))
    tree["book"] |= {"format": "documents", "column": "body", "encoding": "cp1252"}
    (desk.root / "sources.yaml").write_text(yaml.safe_dump(tree))
    (entry,) = listed(desk.run(), "text")
    assert list(entry) == ["name", "title", "licence", "format", "column", "encoding", "files"]
    assert (entry["column"], entry["encoding"]) == ("body", "cp1252")


def test_the_metrics_count_files_and_bytes_by_role(desk):
    assert json.loads((desk.run() / "metrics.json").read_text()) == {
        "text": {"files": 1, "bytes": 21},
        "classification": {"files": 2, "bytes": 27},
        "instruction": {"files": 1, "bytes": 3},
        "preference": {"files": 1, "bytes": 5},
        "mmlu": {"files": 3, "bytes": 36},
        "tokenizer": {"files": 0, "bytes": 0},
        "init": {"files": 0, "bytes": 0},
    }


def test_the_output_is_the_same_whatever_the_files_came_from(desk, monkeypatch):
    def digest():
        return {name: sha256((desk.out / name).read_bytes()) for name in names(desk.run())}

    local = digest()
    with serving() as server:
        server.files |= CONTENT
        (desk.root / "sources.yaml").write_text(a_table(server.url + "/{path}"))
        assert digest() == local
        assert digest() == local  # from what was kept
        assert len(server.asked) == 8
    (desk.root / "sources.yaml").write_text(a_table("nowhere/{path}"))
    shutil.rmtree(desk.root / "scratch")
    monkeypatch.setenv("LLMILL_MIRROR", ".")
    assert digest() == local


def test_shards_of_a_pattern_come_as_files_of_their_source_and_are_pinned_as_a_list(desk):
    entry = {
        "path": "web/{00..11}.txt", "bytes": None, "sha256": None, "urls": ["in/{0..11}.txt"],
    }  # fmt: skip
    for number in range(12):
        (desk.root / f"in/{number}.txt").write_bytes(b"page %d\n" % number)
    tree = {
        "title": "W",
        "role": "text",
        "format": "documents",
        "licence": "mine",
        "files": [entry],
    }
    table = desk.root / "sources.yaml"
    table.write_text(a_table() + yaml.safe_dump({"web": tree}))
    out = desk.run(text=["web"])
    assert "web: 12 files" in desk.said
    (web,) = listed(out, "text")
    assert [file["path"] for file in web["files"]] == [f"web/{n:02}.txt" for n in range(12)]
    assert (out / "text/web/11.txt").read_bytes() == b"page 11\n"
    assert len(sources.pin(table, sources.got(sources.read(table), out))) == 12
    assert sources.read(table)["web"].files[11].sha256 == sha256(b"page 11\n")
    (desk.root / "in/7.txt").write_bytes(b"other\n")
    with pytest.raises(
        UserError, match=r"^web/07\.txt: could not be downloaded \(in/7\.txt: wrong cont"
    ):
        desk.run(text=["web"])


def test_what_is_tracked_names_each_source_with_a_digest_of_its_files(desk):
    desk.run()
    assert [(name, path) for name, path, _ in desk.tracked] == [
        ("book", "data/download/text"),
        ("mail", "data/download/classification"),
        ("tasks", "data/download/instruction"),
        ("pairs", "data/download/preference"),
        ("quiz", "data/download/mmlu"),
    ]
    assert all(len(digest) == 64 for _, _, digest in desk.tracked)


def test_a_log_gets_a_line_for_each_source(desk):
    desk.run()
    assert desk.said == [
        "book: 1 file, 21 bytes",
        "mail: 2 files, 27 bytes",
        "tasks: 1 file, 3 bytes",
        "pairs: 1 file, 5 bytes",
        "quiz: 3 files, 36 bytes",
    ]


def test_a_source_without_a_hash_is_taken_with_a_warning(desk):
    (desk.root / "sources.yaml").write_text(a_table(pinned=False))
    desk.run()
    assert listed(desk.out, "instruction")[0]["files"][0]["sha256"] == sha256(b"[]\n")
    (line,) = [line for line in desk.said if line.startswith("warning: in/tasks.json")]
    assert sha256(b"[]\n") in line
    assert "verify --pin" in line


def test_a_file_that_is_not_what_the_table_says_stops_the_stage(desk):
    (desk.root / "in/book.txt").write_bytes(b"It was a bright day.\n")
    with pytest.raises(UserError) as error:
        desk.run()
    assert sha256(CONTENT["in/book.txt"]) in str(error.value)
    assert sha256(b"It was a bright day.\n") in str(error.value)


def test_a_source_under_the_wrong_role_stops_the_stage_before_any_file(desk):
    with pytest.raises(UserError, match=r"download\.text names 'quiz'.*for text it has book"):
        desk.run(text=["quiz"])
    assert names(desk.out) == []


def test_too_little_disk_stops_the_stage_before_any_file(desk, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: SimpleNamespace(free=91))
    with pytest.raises(UserError, match="92 bytes needed, 91 free"):
        desk.run()
    assert names(desk.out) == []


def test_the_world_is_written_in_the_same_layout(desk):
    labelled = ("classification", "instruction", "preference", "mmlu")
    out = desk.run(text=["world"], **dict.fromkeys(labelled, "world"))
    for role in ("text", *labelled):
        (world,) = listed(out, role)
        assert world["name"] == "world"
        assert world["licence"] == "generated; no rights reserved"
        for file in world["files"]:
            content = (out / role / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(content), sha256(content))
    assert listed(out, "text")[0]["format"] == "paragraphs"
    assert listed(out, "tokenizer") == []
    assert "world/" in listed(out, "text")[0]["files"][0]["path"]
    assert (out / "classification" / "SMSSpamCollection").exists()
    assert not (desk.root / "scratch").exists()


def test_several_sources_of_instructions_have_a_folder_each(desk):
    own = desk.root / "own/chats.jsonl"
    own.parent.mkdir()
    own.write_text('{"prompt": "Hi", "completion": "Hello"}')
    chats = {"file": "own/chats.jsonl"}
    out = desk.run(text=["world"], instruction=["world", "tasks", chats])
    paths = {e["name"]: [f["path"] for f in e["files"]] for e in listed(out, "instruction")}
    assert paths == {
        "world": ["world/instruction-data.json"],
        "tasks": ["tasks/tasks.json"],
        "own/chats.jsonl": ["chats/chats.jsonl"],
    }
    assert all((out / "instruction" / path).is_file() for (path,) in paths.values())


def test_news_is_a_text_of_its_own_with_questions_beside_the_worlds(desk):
    roles = {"classification": "world", "instruction": "world", "mmlu": "world"}
    out = desk.run(text=["news", "world"], **roles)
    news, world = listed(out, "text")
    assert (news["name"], world["name"]) == ("news", "world")
    assert (news["format"], world["format"]) == ("paragraphs", "paragraphs")
    assert news["title"].startswith("News of the built-in world")
    assert [file["path"] for file in news["files"]] == [
        "news/cinema.txt",
        "news/questions.txt",
        "news/regions.txt",
        "news/sports.txt",
    ]
    assert all(file["path"].startswith("world/") for file in world["files"])
    (questions,) = listed(out, "mmlu")
    assert questions["name"] == "world"
    paths = [file["path"] for file in questions["files"]]
    assert {"test/cinema_test.csv", "test/geography_test.csv"} <= set(paths)
    assert json.loads((out / "mmlu/levels.json").read_text())["cinema"] == "news"
    assert ("news", "data/download/text") in [words[:2] for words in desk.tracked]


def test_news_may_be_the_only_text(desk):
    roles = {"classification": "world", "instruction": "world", "mmlu": "world"}
    out = desk.run(text=["news"], **roles)
    assert [entry["name"] for entry in listed(out, "text")] == ["news"]
    assert not (out / "text/world").exists()
    assert (out / "mmlu/test/geography_test.csv").exists()


OURS = {
    "config.json": b'{"head": "next_token"}',
    "model.safetensors": b"weights",
    "bpe/ranks.tiktoken": b"ranks",
    "bpe/tokenizer.json": b"{}",
}
THEIRS = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": b"some",
    "model-00002-of-00002.safetensors": b"more",
    "model.safetensors.index.json": b"{}",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
}


def a_model(desk, content):
    """A folder with these files and some that are no part of it."""
    folder = desk.root / "models" / "mine"
    for name, found in (content | {"pytorch_model.bin": b"pickle", "README.md": b"read"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(found)
    return folder


@pytest.mark.parametrize("content", [OURS, THEIRS], ids=["ours", "hugging face"])
def test_weights_to_begin_from_are_copied_out_of_a_folder(desk, content):
    folder = a_model(desk, content)
    out = desk.run(init="models/mine")
    assert names(out / "init") == sorted([*content, "sources.json"])
    (entry,) = listed(out, "init")
    assert entry["name"] == "models/mine"
    for file in entry["files"]:
        found = content[file["path"]]
        assert (file["bytes"], file["sha256"]) == (len(found), sha256(found))
        assert (out / "init" / file["path"]).stat().st_ino != (folder / file["path"]).stat().st_ino
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["init"] == {"files": len(content), "bytes": sum(map(len, content.values()))}


def a_source(desk, content):
    """A table in which the same model is source `weights`."""
    a_model(desk, content)
    tree = yaml.safe_load(a_table())
    files = [
        {"path": f"models/mine/{name}", "bytes": None, "sha256": sha256(found),
         "urls": [f"models/mine/{name}"]}
        for name, found in content.items()
    ]  # fmt: skip
    tree["weights"] = {"title": "W", "role": "init", "licence": "mine", "files": files}
    (desk.root / "sources.yaml").write_text(yaml.safe_dump(tree))


def test_a_source_with_another_head_is_refused_as_a_folder_is(desk):
    a_source(desk, OURS | {"config.json": b'{"head": "class"}'})
    line = r"download\.init = 'weights': config\.json says head 'class'; training can start"
    with pytest.raises(UserError, match=line):
        desk.run(init="weights")


def test_weights_to_begin_from_may_be_a_source(desk):
    a_source(desk, OURS)
    out = desk.run(init="weights")
    assert names(out / "init") == sorted([*OURS, "sources.json"])
    with pytest.raises(UserError, match=r"download\.init names 'book', whose role"):
        desk.run(init="book")


@pytest.mark.parametrize(
    ("content", "without", "line"),
    [
        (OURS, "config.json", r"config\.json is missing; it must be a model's folder"),
        (OURS, "model.safetensors", r"pytorch_model\.bin is a pickle, .* safetensors only"),
        (OURS | {"config.json": b"{}"}, None, r"config\.json has no `head`; a folder is ours"),
        (
            OURS | {"config.json": b'{"model_type": "llama"}'},
            None,
            r"config\.json has no `head`; a folder is ours, with bpe/ and `head`, or Hugging",
        ),
        (THEIRS | {"config.json": b'{"head": "next_token"}'}, None, r"config\.json has no `model_"),
        (
            OURS | {"config.json": b'{"head": "class"}'},
            None,
            r"config\.json says head 'class'; training can start only from a model",
        ),
        (
            OURS | {"config.json": b'{"head": "next_token", "adapter": {"rank": 2}}'},
            None,
            r"config\.json says that it is an adapter, whose foundation would stay behind; start",
        ),
    ],
)
def test_a_folder_that_holds_no_model_to_begin_from_is_refused_before_any_file(
    desk, content, without, line
):
    folder = a_model(desk, content)
    if without:
        (folder / without).unlink()
    with pytest.raises(UserError, match=rf"^params\.yaml: download\.init = 'models/mine': {line}"):
        desk.run(init="models/mine")
    assert names(desk.out) == []


@pytest.mark.parametrize(
    ("config", "line"),
    [(b"{", "config.json: not JSON"), (b"[]", "config.json: expected an object, found list")],
)
def test_a_config_that_is_no_object_is_refused_before_any_file(desk, config, line):
    a_model(desk, OURS | {"config.json": config})
    with pytest.raises(UserError, match=f"^models/mine/{line}"):
        desk.run(init="models/mine")
    assert names(desk.out) == []


def test_a_folder_that_does_not_exist_is_said(desk):
    with pytest.raises(UserError, match=r"download\.init = 'models/none': no such folder"):
        desk.run(init="models/none")


@pytest.mark.parametrize("named", ["models/mine", "models/mine/a.gguf", "a.gguf", "weights"])
def test_weights_in_one_file_are_had_from_a_folder_a_path_or_a_source(desk, named):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    for folder in (desk.root / "models/mine", desk.root):
        folder.mkdir(parents=True, exist_ok=True)
        ggufs.write(folder / "a.gguf", "llama", {}, {})
    content = (desk.root / "a.gguf").read_bytes()
    tree = yaml.safe_load(a_table())
    file = {"path": "m/a.gguf", "bytes": None, "sha256": sha256(content), "urls": ["a.gguf"]}
    tree["weights"] = {"title": "W", "role": "init", "licence": "mine", "files": [file]}
    (desk.root / "sources.yaml").write_text(yaml.safe_dump(tree))
    out = desk.run(init=named)
    assert names(out / "init") == ["a.gguf", "sources.json"]
    assert (out / "init/a.gguf").read_bytes() == content
    assert listed(out, "init")[0]["name"] == named


def test_a_gguf_of_another_architecture_or_none_is_refused_before_any_file(desk):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    ggufs.write(desk.root / "a.gguf", "mamba", {}, {})
    with pytest.raises(UserError, match=r"a\.gguf: general\.architecture = 'mamba': not an"):
        desk.run(init="a.gguf")
    assert names(desk.out) == []
    with pytest.raises(UserError, match=r"download\.init = 'b\.gguf': no such folder or file"):
        desk.run(init="b.gguf")


def test_the_real_data_arrives_whole(desk, real_data, monkeypatch):
    shutil.copy(ROOT / "sources.yaml", desk.root / "sources.yaml")
    monkeypatch.setenv("LLMILL_MIRROR", str(real_data))
    out = desk.run(
        text=["gutenberg", "verdict"],
        classification="sms_spam",
        instruction="instruction_1100",
        preference="preference_1100",
        mmlu="mmlu",
        tokenizer="gpt2",
    )
    assert json.loads((out / "metrics.json").read_text()) == {
        "text": {"files": 21, "bytes": 22_378_301},
        "classification": {"files": 2, "bytes": 483_700},
        "instruction": {"files": 1, "bytes": 203_524},
        "preference": {"files": 1, "bytes": 386_968},
        "mmlu": {"files": 171, "bytes": 7_176_539},
        "tokenizer": {"files": 2, "bytes": 1_498_619},
        "init": {"files": 0, "bytes": 0},
    }
    assert len((out / "classification/SMSSpamCollection").read_bytes().splitlines()) == 5574
    assert len(list((out / "text/gutenberg").glob("*.txt"))) == 20
