"""The table of sources: the committed one against the real files, wrong ones refused, hashes pinned."""

import csv

import pytest
import yaml

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.stages.settings.download import Download
from llmill.text.download import sources
from llmill.text.download.sources import chosen, got, pin, read
from llmill.world.settings import World
from tests.conftest import ROOT

HASH = "0123456789abcdef" * 4
WORLD = World(seed=1, repeats=1, messages=1, instructions=1, questions=1)


def a_download(**roles):
    named = {
        "text": ["verdict"],
        "classification": "sms_spam",
        "instruction": "instruction_1100",
        "preference": "preference_1100",
        "mmlu": "mmlu",
        "tokenizer": None,
        "init": None,
    }
    return Download(**{**named, **roles}, retries=1, timeout=1.0, at_once=1, world=WORLD)


def entry(**changes):
    file = {"path": "a/b.txt", "bytes": 5, "sha256": HASH, "urls": ["https://example.org/b.txt"]}
    file |= changes.pop("file", {})
    base = {"title": "B", "role": "text", "format": "prose", "licence": "mine", "files": [file]}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def weights(*names):
    """An entry of role init that holds these files."""
    file = entry()["files"][0]
    return entry(role="init", format=None, files=[file | {"path": f"m/{name}"} for name in names])


def packaged(name):
    """An entry whose file is had inside a package."""
    return entry(
        files=[{"package": "p", "version": "1", "file": name, "bytes": None, "sha256": None}]
    )


def shards(**changes):
    """An entry of one file, and of three behind a pattern."""
    pattern = {"path": "a/b-{0..2}.txt", "bytes": None, "sha256": None,
               "urls": ["https://example.org/{00..02}.txt", "s3://shelf/a/b-{7..9}.txt"]}  # fmt: skip
    return entry(files=[*entry()["files"], pattern | changes])


def table(tmp_path, tree):
    file = tmp_path / "sources.yaml"
    file.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")
    return file


def refused(tmp_path, tree):
    with pytest.raises(UserError) as error:
        read(table(tmp_path, tree))
    line = str(error.value)
    assert "\n" not in line
    assert "sources.yaml" in line
    return line


def test_the_committed_table_says_of_every_file_what_the_real_data_says(real_data):
    with (real_data / "sources.csv").open(newline="") as file:
        real = {row["path"]: row for row in csv.DictReader(file)}
    known = [s for s in read(ROOT / "sources.yaml").values() if s.role != "init"]  # too large
    files = [file for source in known for file in source.files]
    assert len(files) == 203
    for file in files:
        row = real[file.path]
        assert (str(file.bytes), file.sha256) == (row["bytes"], row["sha256"])
        assert row["url"] in file.urls
        assert (real_data / file.path).stat().st_size == file.bytes


def test_the_committed_table_holds_these_sources():
    known = read(ROOT / "sources.yaml")
    assert {
        name: (source.role, source.format, len(source.files)) for name, source in known.items()
    } == {
        "gutenberg": ("text", "gutenberg", 20),
        "verdict": ("text", "prose", 1),
        "tinyshakespeare": ("text", "prose", 1),
        "wikitext2": ("text", "prose", 2),
        "sms_spam": ("classification", None, 2),
        "instruction_1100": ("instruction", None, 1),
        "preference_1100": ("preference", None, 1),
        "alpaca": ("instruction", None, 1),
        "dolly_3k": ("instruction", None, 1),
        "gpt2": ("tokenizer", None, 2),
        "gpt2-124m": ("init", None, 4),
        "smollm2-135m": ("init", None, 3),
        "smollm2-135m-instruct": ("init", None, 1),
        "mmlu": ("mmlu", None, 171),
    }


def test_the_example_in_the_tables_head_is_a_source(tmp_path):
    head = (ROOT / "sources.yaml").read_text(encoding="utf-8").partition("\ngutenberg:")[0]
    lines = [line[2:] for line in head.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("  mine:"))
    example = "\n".join(lines[start : start + 7])
    (mine,) = read(table(tmp_path, example)).values()
    assert (mine.name, mine.role) == ("mine", "text")
    assert mine.files[0].urls == ["my/folder/book.txt"]


def test_every_file_has_a_place_by_its_role():
    known = read(ROOT / "sources.yaml")
    places = {name: [s.place(file) for file in s.files] for name, s in known.items()}
    assert places["gutenberg"][0] == "gutenberg/98-0.txt"
    assert places["sms_spam"] == ["SMSSpamCollection", "readme"]
    assert places["gpt2"] == ["encoder.json", "vocab.bpe"]
    assert places["mmlu"][0] == "dev/abstract_algebra_dev.csv"
    assert places["mmlu"][-1] == "test/world_religions_test.csv"


def test_messages_of_ones_own_get_the_name_that_later_stages_read(tmp_path):
    own = entry(role="classification", format=None, file={"path": "my/messages.tsv"})
    (source,) = read(table(tmp_path, {"own": own})).values()
    assert source.place(source.files[0]) == "SMSSpamCollection"


def test_text_may_come_in_several_forms_with_its_column_and_encoding(tmp_path):
    file = entry()["files"][0]
    names = ("a.txt", "b.md", "c.jsonl", "d.jsonl.gz", "e.txt.zst", "f.parquet")
    files = [file | {"path": f"web/{name}"} for name in names]
    own = entry(format="documents", column="body", encoding="cp1252", files=files)
    (source,) = read(table(tmp_path, {"own": own})).values()
    assert tuple(source.place(file) for file in source.files) == tuple(f"own/{n}" for n in names)
    assert source.reading == {"format": "documents", "column": "body", "encoding": "cp1252"}


def test_a_model_keeps_its_tokenizers_folder_and_no_other(tmp_path):
    files = ("config.json", "model.safetensors", "bpe/ranks.tiktoken")
    (source,) = read(table(tmp_path, {"mine": weights(*files)})).values()
    assert tuple(source.place(file) for file in source.files) == files


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"b": entry(licence=None)}, "missing field 'b.licence'"),
        ({"b": entry(licens="x")}, "unknown field 'b.licens'; did you mean 'licence'?"),
        ({"b": entry(file={"sha": HASH})}, "unknown field 'b.files.0.sha'; did you mean 'sha256'?"),
        ({"b": entry(file={"sha256": "abc"})}, "b.files.0.sha256 = 'abc'"),
        ({"b": entry(file={"bytes": 0})}, "b.files.0.bytes = 0"),
        ({"b": entry(file={"bytes": "5"})}, "b.files.0.bytes = '5'"),
        ({"b": entry(file={"urls": []})}, "b.files.0.urls = []"),
        (
            {"b": entry(file={"urls": ["ftp://x/b.txt"]})},
            "url 'ftp://x/b.txt': allowed are http, https, s3 and local",
        ),
        (
            {"b": entry(file={"urls": ["s3://x"]})},
            "url 's3://x': an object in S3 is s3://BUCKET/KEY",
        ),
        (
            {"b": shards(bytes=5)},
            "b.files.1: bytes = 5: a pattern of 3 files takes a list, or null",
        ),
        ({"b": shards(sha256=[HASH])}, "b.files.1: sha256 has 1 values for 3 files"),
        ({"b": shards(sha256=[HASH, "x", HASH])}, "b.files.1.sha256 = 'x'"),
        (
            {"b": shards(urls=["https://x/{0..1}.txt"])},
            "b.files.1: 'https://x/{0..1}.txt' names 2 files, its path 3",
        ),
        ({"b": shards(path="a-{2..0}.txt")}, "{2..0} counts down; write {0..2}"),
        ({"b": shards(path="a-{00..120}.txt")}, "{00..120}: with leading zeros both need as many"),
        ({"b": shards(path="a-{0..999999}.txt")}, "{0..999999} names more than 100,000 files"),
        (
            {"b": shards(path="{0..999}/{0..999}.txt")},
            "'{0..999}/{0..999}.txt' names more than 100,000 files",
        ),
        ({"b": entry(file={"path": "../b.txt"})}, "path '../b.txt' must be relative"),
        ({"b": entry(file={"path": "/b.txt"})}, "path '/b.txt' must be relative"),
        ({"b": entry(file={"path": "a\\b.txt"})}, r"path 'a\b.txt' must be relative"),
        ({"b": entry(file={"path": "a\0.txt"})}, "must be relative"),
        ({"b": entry(file={"path": f"{'b' * 252}.txt"})}, "must be relative"),
        (
            {"b": entry(file={"package": "p", "version": "1"})},
            "b.files.0: package, version and file go together; file is missing",
        ),
        (
            {"b": entry(file={"package": "-r", "version": "1", "file": "b.txt"})},
            "b.files.0.package = '-r'",
        ),
        (
            {"b": entry(file={"package": "p", "version": "1 -r x", "file": "b.txt"})},
            "b.files.0.version = '1 -r x'",
        ),
        (
            {"b": entry(files=[{"path": "b.txt", "bytes": 1, "sha256": HASH}])},
            "b.files.0: give urls, or package, version and file",
        ),
        ({"b": packaged("../b.txt")}, "path 'p-1/../b.txt' must be relative"),
        ({"b": weights("a.gguf", "b.gguf")}, "config.json and weights are needed, or one .gguf"),
        ({"b": entry(files=[])}, "b.files = []"),
        ({"b": entry(role="texts")}, "b.role = 'texts'"),
        ({"b": entry(format=None)}, "b: role text needs a format"),
        ({"b": entry(role="mmlu")}, "b: role text needs a format, and only it"),
        ({"b": entry(file={"path": "b.pdf"})}, "'b.pdf' does not suit role text"),
        ({"b": entry(file={"path": "b.parquet.gz"})}, "'b.parquet.gz' does not suit role text"),
        ({"b": entry(encoding="cp1225x")}, "sources.yaml: b.encoding: unknown encoding 'cp1225x'"),
        (
            {"b": entry(role="instruction", format=None, column="x")},
            "b: only role text takes `column` and `encoding`",
        ),
        ({"b": entry(role="mmlu", format=None)}, ".parquet files in folders dev, val and test"),
        (
            {"b": entry(role="instruction", format=None)},
            "takes one .json, .jsonl, .ndjson or .parquet file",
        ),
        ({"b": entry(role="tokenizer", format=None)}, "takes encoder.json and vocab.bpe"),
        ({"b": weights("model.safetensors")}, "config.json and weights are needed"),
        ({"b": weights("config.json", "tokenizer.json")}, "config.json and weights are needed"),
        (
            {"b": weights("config.json", "pytorch_model.bin")},
            "'m/pytorch_model.bin' does not suit role init",
        ),
        ({"b": weights("pytorch_model.bin")}, "or one .gguf, never a pickle"),
        (
            {"b": weights("config.json", "model.safetensors", "a.bin")},
            "'m/a.bin' does not suit role init",
        ),
        ({"b": entry(files=entry()["files"] * 2)}, "two files would be written to text/b/b.txt"),
        ({"b": entry(file={"note": True})}, "note 'a/b.txt' would be read as data"),
        ({"b": entry(name="c")}, "unknown field 'b.name'"),
        ({"B b": entry()}, "B b.name = 'B b'"),
        ({"world": entry()}, "'world' is a built-in source"),
        ({"news": entry()}, "'news' is a built-in source"),
        ({"b": ["x"]}, "b: expected title, role, licence and files"),
        ("", "expected sources by name, found NoneType"),
        ("b: [", "not YAML"),
        ("b: {title: B}\nb: {title: C}", 'line 2: found duplicate key "b"'),
        ("b: {title: B, title: C}", 'line 1: found duplicate key "title"'),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path, tree, said):
    assert said in refused(tmp_path, tree)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "sources.yaml")


@pytest.mark.parametrize("name", ["chats.json", "chats.jsonl", "chats.parquet"])
def test_instructions_may_come_in_each_form_of_rows(tmp_path, name):
    made = entry(role="instruction", format=None, file={"path": name})
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump({"chats": made}))
    assert read(tmp_path / "sources.yaml")["chats"].files[0].path == name


def test_the_sources_are_chosen_by_role():
    known = read(ROOT / "sources.yaml")
    roles = [(r, s.name) for r, s in chosen(a_download(tokenizer="gpt2").sources, known)]
    assert roles == [
        ("text", "verdict"),
        ("classification", "sms_spam"),
        ("instruction", "instruction_1100"),
        ("preference", "preference_1100"),
        ("mmlu", "mmlu"),
        ("tokenizer", "gpt2"),
    ]


def test_the_world_and_its_news_need_no_entry():
    roles = dict.fromkeys(("classification", "instruction", "preference", "mmlu"), "world")
    assert chosen(a_download(text=["world"], **roles).sources, {}) == []
    assert chosen(a_download(text=["news", "world"], **roles).sources, {}) == []


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"text": ["gutenburg"]}, "did you mean 'gutenberg'?"),
        ({"text": ["wrold"]}, "did you mean 'world'?"),
        ({"text": ["newz"]}, "did you mean 'news'?"),
        ({"mmlu": "news"}, "download.mmlu names 'news', which is not in sources.yaml; for mmlu"),
        (
            {"mmlu": "quiz"},
            "download.mmlu names 'quiz', which is not in sources.yaml; for mmlu it has mmlu",
        ),
        (
            {"text": ["sms_spam"]},
            "whose role in sources.yaml is classification; for text it has gutenberg",
        ),
        (
            {"init": "world"},
            "names 'world', which is text; a folder of weights has a /, as in models/world",
        ),
        ({"init": "news"}, "names 'news', which is text; a folder of weights has a /"),
        ({"init": "gpt2-124"}, "which is not in sources.yaml; did you mean 'gpt2-124m'?"),
        ({"tokenizer": "world"}, "which is not in sources.yaml; for tokenizer it has gpt2"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_in_one_line(roles, said):
    with pytest.raises(UserError) as error:
        chosen(a_download(**roles).sources, read(ROOT / "sources.yaml"))
    assert said in str(error.value)


UNPINNED = """\
# a comment: sha256: null
mine:
  title: "sha256: null"   # spaces and quotes stay
  role: text
  format: prose
  licence: my own – naïve
  files:
    - {path: mine/a.txt, bytes: null, sha256: null, urls: [a.txt]}
    - {path: mine/b.txt, bytes: 7, sha256: ~, urls: [b.txt]}
    - path: mine/c.txt
      sha256:
      bytes:    # how many?
      urls: [c.txt]
    - {path: mine/d.txt, bytes: null, sha256: null, urls: [d.txt]}
"""


def test_pinning_writes_the_nulls_of_what_was_found_and_nothing_else(tmp_path):
    file = tmp_path / "sources.yaml"
    file.write_bytes(UNPINNED.replace("\n", "\r\n").encode())
    found = {
        f"mine/{name}.txt": (number, HASH) for name, number in (("a", 11), ("b", 12), ("c", 13))
    }
    assert pin(file, found) == ["mine/a.txt", "mine/b.txt", "mine/c.txt"]
    expected = (
        UNPINNED.replace(
            "mine/a.txt, bytes: null, sha256: null", f"mine/a.txt, bytes: 11, sha256: {HASH}"
        )
        .replace("sha256: ~", f"sha256: {HASH}")
        .replace("      sha256:\n", f"      sha256: {HASH}\n")
        .replace("      bytes:    #", "      bytes: 13    #")
    )
    assert file.read_bytes().decode() == expected.replace("\n", "\r\n")
    assert [f.bytes for f in read(file)["mine"].files] == [11, 7, 13, None]


def test_a_file_inside_a_package_has_its_place_in_a_mirror_by_both_and_is_pinned_by_it(tmp_path):
    file = table(tmp_path, {"b": packaged("p/b.txt")})
    (book,) = read(file)["b"].files
    assert (book.path, book.name, book.urls) == ("p-1/p/b.txt", "b.txt", [])
    assert book.within.requirement == "p==1"
    assert pin(file, {"p-1/p/b.txt": (6, HASH)}) == ["p-1/p/b.txt"]
    (pinned,) = read(file)["b"].files
    assert (pinned.bytes, pinned.sha256) == (6, HASH)


def test_a_pattern_stands_for_its_files_each_with_its_own_size_hash_and_addresses(tmp_path):
    hashes = [f"{n:063x}f" for n in range(3)]
    (source,) = read(table(tmp_path, {"b": shards(bytes=[7, 8, 9], sha256=hashes)})).values()
    assert [(f.path, f.bytes, f.sha256, f.urls) for f in source.files[1:]] == [
        ("a/b-0.txt", 7, hashes[0], ["https://example.org/00.txt", "s3://shelf/a/b-7.txt"]),
        ("a/b-1.txt", 8, hashes[1], ["https://example.org/01.txt", "s3://shelf/a/b-8.txt"]),
        ("a/b-2.txt", 9, hashes[2], ["https://example.org/02.txt", "s3://shelf/a/b-9.txt"]),
    ]
    assert [source.place(file) for file in source.files][1:3] == ["b/b-0.txt", "b/b-1.txt"]


PATTERN = """\
web:
  title: Web
  role: text
  format: documents
  licence: mine
  files:
    - {path: "web/{08..10}.parquet", bytes: null, sha256: null, urls: ["s3://shelf/{08..10}.parquet"]}
    - path: web/a-{0..1}.txt
      sha256:
      bytes: [3, 4]
      urls: ["a/{0..1}.txt"]
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_pinning_writes_a_list_for_a_pattern_of_which_all_was_got(tmp_path, end):
    file = tmp_path / "sources.yaml"
    file.write_bytes(PATTERN.replace("\n", end).encode())
    a, b, c, d = (f"{n:063x}f" for n in range(4))
    found = {"web/08.parquet": (8, a), "web/09.parquet": (9, b), "web/a-0.txt": (3, c)}
    assert pin(file, found) == []  # of each pattern something is missing
    found |= {"web/10.parquet": (10, c), "web/a-1.txt": (4, d)}
    assert pin(file, found) == [
        "web/08.parquet", "web/09.parquet", "web/10.parquet", "web/a-0.txt", "web/a-1.txt",
    ]  # fmt: skip
    margin = "        "
    sizes, hashes = (
        f"[\n{margin}8,\n{margin}9,\n{margin}10]",
        f"[\n{margin}{a},\n{margin}{b},\n{margin}{c}]",
    )
    expected = PATTERN.replace(
        "bytes: null, sha256: null", f"bytes: {sizes}, sha256: {hashes}"
    ).replace("sha256:\n", f"sha256: [\n          {c},\n          {d}]\n")
    assert file.read_bytes().decode() == expected.replace("\n", end)
    assert [f.sha256 for f in read(file)["web"].files] == [a, b, c, c, d]


def test_pinning_what_is_pinned_leaves_the_file_alone(tmp_path):
    file = table(tmp_path, {"b": entry()})
    before = file.read_bytes()
    assert pin(file, {"a/b.txt": (6, "f" * 64)}) == []
    assert file.read_bytes() == before


def test_what_was_got_is_found_by_the_path_in_the_table(tmp_path):
    known = read(table(tmp_path, {"b": entry()}))
    (tmp_path / "text").mkdir()
    listed = [
        {"name": "b", "files": [{"path": "b/b.txt", "bytes": 9, "sha256": HASH}]},
        {"name": "world", "files": [{"path": "world/x.txt", "bytes": 1, "sha256": HASH}]},
    ]
    record.write_json(tmp_path / "text" / "sources.json", listed)
    assert got(known, tmp_path) == {"a/b.txt": (9, HASH)}


def test_what_was_got_is_found_in_the_folder_of_one_of_several_sources(tmp_path):
    tasks = entry(role="instruction", format=None, file={"path": "a/t.json"})
    known = read(table(tmp_path, {"t": tasks}))
    (tmp_path / "instruction").mkdir()
    listed = [{"name": "t", "files": [{"path": "t/t.json", "bytes": 9, "sha256": HASH}]}]
    record.write_json(tmp_path / "instruction" / "sources.json", listed)
    assert got(known, tmp_path) == {"a/t.json": (9, HASH)}


def test_roles_are_those_of_the_parameters():
    assert set(sources.ROLES) < set(Download.model_fields)
