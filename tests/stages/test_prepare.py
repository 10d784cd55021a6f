import csv
import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmill.contract.errors import UserError
from llmill.contract.record import files_under, sha256_file
from llmill.stages import prepare
from llmill.tasks import classification, instruction, multiple_choice, preference
from llmill.text.corpus import parquet
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.intake import TextFile
from llmill.text.words import WORD
from tests.conftest import preset
from tests.jobs import Job
from tests.stages.counting import counting, counts

WORLD = preset("world")
LEAKED = "Which of these long rivers flows through the old city of Basel on its way north?"
SOURCES = [
    {
        "name": "notes",
        "format": "paragraphs",
        "files": [{"path": "notes/a.txt"}, {"path": "notes/README"}],
    },
    {"name": "books", "format": "prose", "files": [{"path": "books/b.txt"}]},
]


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """A small download in every role, in the folder worked in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/download"
    notes = [f"Note {i} says that thing {i * 7} is as heavy as stone {i * i}." for i in range(300)]
    near = " ".join(f"word{i}" for i in range(60))
    notes += [notes[0].upper(), f"He asked: {LEAKED} Nobody knew.", near, near + " more", "test 3"]
    books = [f"Chapter {i} of the book tells of day {i}." for i in range(100)]
    messages = [
        f"{'spam' if i % 3 else 'ham'}\tmessage number {i} for you today" for i in range(90)
    ]
    tasks = [
        {
            "instruction": f"Say number {i} in good plain words.",
            "input": "",
            "output": f"It is {i}.",
        }
        for i in range(90)
    ]
    write(folder / "text/notes/a.txt", "\r\n\r\n".join(notes))
    write(folder / "text/notes/README", "not a text")
    write(folder / "text/books/b.txt", "\n\n".join(books))
    write(folder / "text/sources.json", json.dumps(SOURCES))
    write_lists(folder)
    write(folder / "classification/SMSSpamCollection", "\n".join([*messages, messages[0]]) + "\n")
    write(folder / "instruction/tasks.json", json.dumps([*tasks, {**tasks[0], "output": " "}]))
    write(folder / "preference/pairs.json", json.dumps(pairs()))
    for split in ("dev", "val", "test"):
        question = LEAKED if split == "test" else f"{split}?"
        write(folder / f"mmlu/{split}/rivers_{split}.csv", f'"{question}",Rhine,Rhone,Po,Aare,A\n')
    return folder


def pairs() -> list[dict]:
    """A pair for each instruction, in another form, and as many of other prompts."""
    asked = [f"Say number {i} in good plain words." for i in range(90)]
    asked += [f"Name metal {i}." for i in range(90)]
    return [{"prompt": text, "chosen": f"{text} Yes.", "rejected": "No."} for text in asked]


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8", newline="")


def write_lists(folder: Path) -> None:
    """What stage `download` says of a source in each of the labelled roles."""
    for role in ("classification", "instruction", "preference", "mmlu"):
        write(folder / role / "sources.json", json.dumps([{"name": role, "files": []}]))


def parameters(**changed) -> prepare.Parameters:
    settings = WORLD.prepare.model_copy(
        update={"weights": {"notes": 1.0, "books": 1.0}, "shard_documents": 100, **changed}
    )
    return prepare.Parameters(prepare=settings)


def run(raw: Path, name: str = "out", **changed) -> Path:
    out = raw.parent / name
    prepare.run(parameters(**changed), Job(out, root=raw.parents[1]))
    return out


def documents(out: Path, split: str) -> list[dict]:
    shards = parquet.shards(out / "text" / split)
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def test_further_tests_are_kept_apart_from_what_is_learnt(raw):
    written = "ham\tSee you at the lake.\nspam\tMessage number 5 for you  today\n"
    write(raw / "classification/tests/lake.tsv", written)
    out = run(raw)
    tests = classification.read_tests(out / "classification", ["ham", "spam"])
    assert [message.text for message in tests["lake"]] == [
        "See you at the lake.",
        "Message number 5 for you  today",
    ]
    parts = classification.read_splits(out / "classification")
    texts = [message.text for messages in parts.values() for message in messages]
    assert "message number 5 for you today" not in texts
    assert len(texts) == 89
    found = metrics(out)["classification"]
    assert (found["in_further_tests"], found["tests"]) == (1, {"lake": 2})


def test_what_is_removed_is_counted_by_reason_and_source(raw):
    found = metrics(run(raw))["text"]["sources"]
    assert list(found) == ["notes", "books"]
    assert {k: v for k, v in found["notes"].items() if k != "words"} == {
        "read": 305,
        "exact_duplicate": 1,
        "evaluation_text": 1,
        "near_duplicate": 1,
        "kept": 302,
    }
    assert found["books"]["kept"] == found["books"]["read"] == 3  # passages of about 400 words


def test_documents_are_counted_while_they_are_compared_and_while_they_are_mixed(
    raw, monkeypatch, capsys
):
    monkeypatch.setattr(parquet, "BATCH", 100)
    out = raw.parent / "out"
    prepare.run(parameters(), counting(Job(out, root=raw.parents[1]), monkeypatch))
    said = capsys.readouterr().out
    assert counts(said, "files") == [(1, 2), (2, 2)]
    assert counts(said, "documents compared") == [(303, 308), (304, 308)]  # those of one band
    for split in ("train", "validate"):
        n = metrics(out)["text"][f"{split}_documents"]
        expected = [(min(done, n), n) for done in range(100, n + 100, 100)]
        assert counts(said, f"documents of {split} mixed") == expected


def test_every_kept_document_is_in_one_split_with_its_source_and_hash(raw):
    out = run(raw)
    train, validate = (documents(out, split) for split in ("train", "validate"))
    texts = [row["text"] for row in train + validate]
    assert len(texts) == len(set(texts)) == 305
    assert not [t for t in texts if LEAKED in t]
    assert {row["source"] for row in train} == {"notes", "books"}
    assert all(len(row["id"]) == 64 for row in train)
    assert metrics(out)["text"]["train_documents"] == len(train)
    assert metrics(out)["text"]["validate_documents"] == len(validate) > 0
    assert len(parquet.shards(out / "text/train")) == -(-len(train) // 100) == 4


def test_weights_repeat_training_documents_and_never_validation(raw):
    out = run(raw, weights={"notes": 2.0, "books": 0.0})
    train, validate = (documents(out, split) for split in ("train", "validate"))
    assert set(Counter(row["id"] for row in train).values()) == {2}
    assert {row["source"] for row in train + validate} == {"notes"}
    assert len({row["id"] for row in validate}) == len(validate)
    assert len(train) == 2 * (302 - len(validate))


def test_another_source_moves_no_document_to_the_other_split(raw):
    both = {row["id"] for row in documents(run(raw), "validate") if row["source"] == "notes"}
    (raw / "text/sources.json").write_text(json.dumps(SOURCES[:1]))
    assert {row["id"] for row in documents(run(raw, "alone"), "validate")} == both


def test_labelled_rows_are_split_without_repeats_and_counted(raw):
    out = run(raw)
    messages = [
        classification.read(out / f"classification/{split}.jsonl")
        for split in ("train", "validate", "test")
    ]
    tasks = [
        instruction.read(out / f"instruction/{split}.jsonl")
        for split in ("train", "validate", "test")
    ]
    assert len({m.text for part in messages for m in part}) == sum(map(len, messages)) == 90
    assert sum(map(len, tasks)) == 90
    found = metrics(out)
    assert (found["classification"]["rows"], found["classification"]["duplicates"]) == (91, 1)
    assert found["classification"]["test"]["rows"] == len(messages[2])
    assert sum(found["classification"]["train"]["by_label"].values()) == len(messages[0])
    assert found["instruction"]["without_response"] == 1
    assert found["mmlu"] == {"subjects": 1, "dev": 1, "val": 1, "test": 1}
    assert multiple_choice.read(out / "mmlu/test.jsonl")[0].question == LEAKED


def prepared_pairs(out: Path) -> dict[str, list[preference.Preference]]:
    return {
        split: preference.read(out / f"preference/{split}.jsonl")
        for split in ("train", "validate", "test")
    }


def test_pairs_are_split_by_prompt_and_stay_with_the_instruction_that_asks_the_same(raw):
    """Each prompt has a second pair, and in capitals: neither is in another split than the first."""
    more = [{**row, "prompt": row["prompt"].upper(), "chosen": "Well."} for row in pairs()]
    write(raw / "preference/pairs.json", json.dumps([*pairs(), *more]))
    out = run(raw, preference=WORLD.prepare.preference.model_copy(update={"test_share": 0.3}))
    prompts = {
        split: [pair.task.casefold() for pair in rows]
        for split, rows in prepared_pairs(out).items()
    }
    assert sum(map(len, prompts.values())) == 360
    assert all(set(Counter(rows).values()) == {2} for rows in prompts.values())
    assert not set(prompts["train"]) & {*prompts["validate"], *prompts["test"]}
    for split, rows in prompts.items():
        tasks = instruction.read(out / f"instruction/{split}.jsonl")
        asked = {task.instruction.casefold() for task in tasks}
        assert asked == {text for text in rows if text.startswith("say")}


def test_a_note_beside_the_data_is_no_data(raw):
    before = metrics(run(raw, "before"))
    write(raw / "instruction/LICENCE", "Do as you please.")
    assert metrics(run(raw)) == before


def chat(*said: str) -> list[dict]:
    return [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant") * len(said), said, strict=False)
    ]


def test_what_a_conversation_begins_with_is_in_its_split_whatever_the_system_says(raw):
    """Of each conversation three rows: its first turn, the whole, and the whole after a system's
    text; and a pair of answers to its first question and to its last.
    """
    (raw / "instruction/tasks.json").unlink()
    talks = [(f"What is {i}?", "A number.", "Which?", f"It is {i}.") for i in range(60)]
    brief = [{"role": "system", "content": "Be brief."}]
    rows = [each for t in talks for each in (chat(*t[:2]), chat(*t), brief + chat(*t))]
    write(raw / "instruction/chats.json", json.dumps([{"messages": row} for row in rows]))
    prompts = [each for t in talks for each in (chat(*t[:1]), chat(*t[:3]))]
    pairs = [
        {"prompt": p, "chosen": chat("", "Yes.")[1:], "rejected": chat("", "No.")[1:]}
        for p in prompts
    ]
    write(raw / "preference/pairs.json", json.dumps(pairs))
    out = run(raw, instruction=WORLD.prepare.instruction.model_copy(update={"test_share": 0.3}))
    for split, rows in prepared_pairs(out).items():
        entries = instruction.read(out / f"instruction/{split}.jsonl")
        first = Counter(
            entry.messages[0 if len(entry.earlier) != 3 else 1]["content"] for entry in entries
        )
        assert set(first.values()) == {3}
        assert {row.asked[0]["content"] for row in rows} == set(first)


def test_a_pair_that_goes_on_from_an_instruction_is_in_its_split(raw):
    asked = [row["prompt"] for row in pairs() if row["prompt"].startswith("Say")]
    rows = [
        {"prompt": chat(text, "Yes.", "More?"), "chosen": chat("", "Yes.")[1:], "rejected": chat("", "No.")[1:]}
        for text in asked
    ]  # fmt: skip
    write(raw / "preference/pairs.json", json.dumps(rows))
    shares = {"test_share": 0.3, "validate_share": 0.3}
    out = run(raw, instruction=WORLD.prepare.instruction.model_copy(update=shares))
    for split, found in prepared_pairs(out).items():
        tasks = instruction.read(out / f"instruction/{split}.jsonl")
        assert {pair.asked[0]["content"] for pair in found} == {task.instruction for task in tasks}


def test_a_prompt_that_conversations_ask_on_the_way_is_learnt_from_where_they_are(raw):
    """No conversation is of one turn, and each first question has two of them."""
    (raw / "instruction/tasks.json").unlink()
    rows = [
        {"messages": chat(f"What is {i}?", "A number.", f"{which}?", f"It is {i}.")}
        for i in range(90)
        for which in ("Which", "Why")
    ]
    write(raw / "instruction/chats.json", json.dumps(rows))
    pairs = [{"prompt": f"What is {i}?", "chosen": "Yes.", "rejected": "No."} for i in range(90)]
    write(raw / "preference/pairs.json", json.dumps(pairs))
    shares = {"test_share": 0.3, "validate_share": 0.3}
    out = run(
        raw,
        instruction=WORLD.prepare.instruction.model_copy(update=shares),
        preference=WORLD.prepare.preference.model_copy(update=shares),
    )
    splits = ("train", "validate", "test")
    learnt = {
        split: {
            entry.messages[0]["content"]
            for entry in instruction.read(out / f"instruction/{split}.jsonl")
        }
        for split in splits
    }
    assert learnt["train"] & learnt["test"]
    for split, pairs in prepared_pairs(out).items():
        earlier = set().union(*(learnt[each] for each in splits[: splits.index(split)]))
        prompts = {pair.asked[0]["content"] for pair in pairs}
        assert prompts == learnt[split] - earlier


def test_pairs_that_prefer_nothing_or_repeat_are_left_out_and_counted(raw):
    first = pairs()[0]
    same = {**first, "rejected": f"{first['chosen']}\n"}
    write(raw / "preference/pairs.json", json.dumps([*pairs(), same, first]))
    out = run(raw)
    found, kept = metrics(out)["preference"], prepared_pairs(out)
    assert (found["rows"], found["duplicates"], found["undecided"]) == (182, 1, 1)
    assert {split: found[split]["rows"] for split in kept} == {k: len(v) for k, v in kept.items()}
    assert sum(map(len, kept.values())) == 180


def test_no_document_holds_the_prompt_of_a_test_pair(raw):
    write(raw / "preference/pairs.json", json.dumps(long := [
        {"prompt": f"Which of the {i} roads to Rome is the shortest one?", "chosen": "A", "rejected": "B"}
        for i in range(90)
    ]))  # fmt: skip
    write(
        raw / "text/notes/a.txt", "\n\n".join([*(row["prompt"] for row in long), "A note.", "Two."])
    )
    out = run(raw, validate_share=0.5)
    tested = {pair.task for pair in prepared_pairs(out)["test"]}
    texts = {row["text"] for split in ("train", "validate") for row in documents(out, split)}
    assert tested and not texts & tested


def test_levels_of_subjects_come_along_where_there_are_any(raw):
    assert json.loads((run(raw) / "mmlu/levels.json").read_text()) == {}
    (raw / "mmlu/levels.json").write_text('{"rivers": "one_fact"}')
    assert json.loads((run(raw, "more") / "mmlu/levels.json").read_text()) == {"rivers": "one_fact"}


def test_no_document_holds_a_labelled_test_text(raw):
    secret = json.loads((raw / "instruction/tasks.json").read_text())
    secrets = [task["instruction"] for task in secret]
    write(raw / "text/notes/a.txt", "\n\n".join([*secrets[:90], "A plain note.", "Another note."]))
    out = run(raw, validate_share=0.5)
    tested = instruction.read(out / "instruction/test.jsonl")
    texts = {row["text"] for split in ("train", "validate") for row in documents(out, split)}
    assert tested
    assert not texts & {entry.instruction for entry in tested}
    assert metrics(out)["text"]["sources"]["notes"]["evaluation_text"] == len(tested)


def test_text_is_read_in_every_form_with_the_column_and_encoding_that_the_list_names(raw):
    rows = [f"Straße number {i} goes to place {i * 7}." for i in range(40)]
    lines = "".join(json.dumps({"body": row}, ensure_ascii=False) + "\n" for row in rows[:20])
    (raw / "text/notes/a.jsonl.gz").write_bytes(gzip.compress(lines.encode("cp1252")))
    pq.write_table(pa.table({"body": rows[20:]}), raw / "text/notes/b.parquet")
    files = [{"path": "notes/a.jsonl.gz"}, {"path": "notes/b.parquet"}, {"path": "notes/README"}]
    notes = {"name": "notes", "format": "documents", "column": "body", "encoding": "cp1252"}
    (raw / "text/sources.json").write_text(json.dumps([notes | {"files": files}]))
    out = run(raw)
    texts = [row["text"] for split in ("train", "validate") for row in documents(out, split)]
    assert sorted(texts) == sorted(rows)
    (raw / "text/sources.json").write_text(json.dumps([{**notes, "column": "txt", "files": files}]))
    with pytest.raises(UserError, match=r"a\.jsonl\.gz, row 1: no column 'txt'; there are 'body'"):
        run(raw, "other")


def test_the_same_input_gives_the_same_bytes(raw):
    one, two = run(raw, "one"), run(raw, "two")
    names = [p.relative_to(one) for p in files_under(one)]
    assert [p.relative_to(two) for p in files_under(two)] == names
    assert [sha256_file(one / n) for n in names] == [sha256_file(two / n) for n in names]


def test_the_stage_takes_files_that_another_job_has_read(raw):
    ahead = Job(raw.parent / "ahead", root=raw.parents[1])
    parts = prepare.parts(parameters(), ahead)
    assert [part.made_of["name"] for part in parts] == ["a.txt", "b.txt"]
    made = ahead.parts.made(parts[1])  # the books; it lies where the stage looks for it
    texts = made / "texts"
    texts.write_bytes(texts.read_bytes().replace(b"Chapter 7 ", b"CHAPTER 7 "))
    out = run(raw)
    rows = [row for split in ("train", "validate") for row in documents(out, split)]
    text = "\n".join(row["text"] for row in rows)
    assert (text.count("CHAPTER 7 of"), text.count("Chapter 7 of")) == (1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"passage_words": 50},
        {"contamination": WORLD.prepare.contamination.model_copy(update={"shortest": 3})},
        {"near_duplicates": WORLD.prepare.near_duplicates.model_copy(update={"similarity": 0.7})},
        {"instruction": WORLD.prepare.instruction.model_copy(update={"test_share": 0.3})},
    ],
)
def test_what_a_file_becomes_depends_on_how_it_is_read_and_on_the_evaluation_texts(raw, changed):
    before, after = (
        prepare.parts(parameters(**each), Job(raw.parent / name, root=raw.parents[1]))
        for name, each in (("before", {}), ("after", changed))
    )
    assert len(before) == 2
    for one, other in zip(before, after, strict=True):
        assert one.made_of != other.made_of


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "Another text."},
        {"name": "a.md"},
        {"source": "other"},
        {"format": "paragraphs"},
        {"column": "body"},
        {"encoding": "cp1252"},
    ],
)
def test_what_a_file_becomes_depends_on_its_bytes_its_name_and_its_source(tmp_path, changed):
    plain = {"text": "A text.", "name": "a.txt", "source": "notes", "format": "prose"}

    def made_of(text: str, name: str, source: str, **entry: str) -> dict:
        write(tmp_path / name, text)
        file = TextFile(tmp_path / name, {"name": source, **entry})
        wanted = EvaluationTexts([LEAKED], WORLD.prepare.contamination)
        return prepare.text_parts([file], WORLD.prepare, wanted)[0].made_of

    assert made_of(**plain) == made_of(**plain)
    assert made_of(**plain) != made_of(**{**plain, **changed})


def test_what_a_file_becomes_does_not_depend_on_how_documents_are_mixed(raw):
    one, other = (
        prepare.parts(parameters(**each), Job(raw.parent / name, root=raw.parents[1]))
        for name, each in (
            ("one", {}),
            ("other", {"weights": {"books": 3.0}, "shard_documents": 9}),
        )
    )
    assert [part.made_of for part in one] == [part.made_of for part in other]


def test_conversations_are_prepared_with_their_earlier_messages(raw):
    rows = [
        {"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": "A number."},
            {"role": "user", "content": "Which?"}, {"role": "assistant", "content": f"It is {i}."}]}
        for i in range(90)
    ]  # fmt: skip
    (raw / "instruction/tasks.json").unlink()
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, rows[0]])
    write(raw / "instruction/chats.jsonl", lines)
    out = run(raw)
    prepared = [
        entry
        for split in ("train", "validate", "test")
        for entry in instruction.read(out / "instruction" / f"{split}.jsonl")
    ]
    assert sorted(entry.output for entry in prepared) == sorted(f"It is {i}." for i in range(90))
    assert {entry.instruction for entry in prepared} == {"Which?"}
    assert all([m["role"] for m in e.earlier] == ["system", "user", "assistant"] for e in prepared)
    metrics = json.loads((out / "metrics.json").read_text())["instruction"]
    assert (metrics["rows"], metrics["duplicates"]) == (91, 1)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("text/notes/a.txt", "", r"a\.txt: no text"),
        ("text/sources.json", "[]", "none is left for train"),
        ("text/sources.json", json.dumps([{**SOURCES[0], "files": []}]), "no files of text"),
        (
            "text/sources.json",
            json.dumps([{**SOURCES[0], "files": [{"path": "../../secret.txt"}]}]),
            r"text/sources\.json: '\.\./\.\./secret\.txt' is not the name of a file in",
        ),
        ("classification/SMSSpamCollection", "ham\tx\nspam\ty\n", "split .* is empty"),
        ("classification/SMSSpamCollection", "ham\tx\nno label\n", "row 2: no label"),
        ("classification/SMSSpamCollection", "ham\tx\nham\ty\n", "every row is 'ham'"),
        ("instruction/tasks.json", '[{"instruction": "x", "input": ""}]', "entry 1 .*'output'"),
        (
            "instruction/tasks.json",
            '[{"instruction": "x", "output": ""}, {"instruction": "y", "output": " "}]',
            "no instructions; in each of 2 the response is empty",
        ),
        (
            "instruction/second.json",
            "[]",
            r"expected one file of data, found second.json, tasks.json; list each as a source of its own",
        ),
        ("mmlu/test/rivers_test.csv", "Q?,a,A\n", "row 1: 3 fields"),
        ("preference/pairs.json", '[{"prompt": "x", "chosen": "y"}]', "entry 1 .*'rejected'"),
        (
            "preference/pairs.json",
            '[{"prompt": "x", "chosen": "y", "rejected": "y "}]',
            "no pairs; in each of 1 both answers are the same",
        ),
        (
            "preference/pairs.json",
            '[{"prompt": "x", "chosen": "y", "rejected": "z"}]',
            "split .* is empty; change the shares in prepare.preference",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(raw, file, content, said):
    write(raw / file, content)
    with pytest.raises(UserError, match=said) as error:
        run(raw)
    assert "\n" not in str(error.value)


def test_a_class_that_is_missing_from_a_split_is_said(raw):
    rows = [f"ham\tmessage number {i} for you today" for i in range(90)]
    write(raw / "classification/SMSSpamCollection", "\n".join([*rows, "spam\twin"]))
    with pytest.raises(UserError, match=r"class 'spam': none of its different texts \(1\) is"):
        run(raw)


def test_a_single_class_that_is_left_once_labels_are_settled_is_said(raw):
    rows = [f"ham\tmessage number {i} for you today" for i in range(90)]
    bought = ["ham\tbuy now", "ham\tBuy now", "spam\tbuy now"]
    write(raw / "classification/SMSSpamCollection", "\n".join([*rows, *bought]))
    with pytest.raises(UserError, match=r"every text has label 'ham', once repeats and contradic"):
        run(raw)


FORM = {
    "file": "own/tickets.csv", "text": ["subject"], "label": "queue", "split": None, "test": None,
    "encoding": None, "delimiter": None, "quotes": True,
}  # fmt: skip


def own_tickets(raw, rows, **form):
    entry = {"name": "own/tickets.csv", "files": [], "own": {**FORM, **form}}
    write(raw / "classification/sources.json", json.dumps([entry]))
    write(raw / "classification/tickets.csv", "\n".join(["queue,subject,part", *rows]))


def test_own_rows_with_several_labels_keep_one_and_are_listed(raw):
    rows = [f"{'abc'[i % 3]},ticket number {i} is open,x" for i in range(90)]
    own_tickets(raw, [*rows, "b,ticket number 0 is open,x", "b,TICKET number 0 is open,x", "c,,x"])
    out = run(raw)
    found = metrics(out)["classification"]
    assert found["contradictions"] == [
        {"text": "ticket number 0 is open", "labels": {"a": 1, "b": 2}, "label": "b"}
    ]
    assert (found["contradictory"], found["duplicates"], found["without_text"]) == (1, 2, 1)
    assert found["rows"] == 93 == 90 + 2 + 1  # kept, duplicates, without text
    by_split = {
        split: classification.read(out / f"classification/{split}.jsonl")
        for split in ("train", "validate", "test")
    }
    assert sum(map(len, by_split.values())) == 90
    labels = {message.text: message.label for part in by_split.values() for message in part}
    assert labels["ticket number 0 is open"] == "b"


def test_own_splits_are_kept_and_what_they_leave_out_is_drawn(raw):
    parts = ["test" if i < 30 else "train" for i in range(90)]
    rows = [f"{'ab'[i % 2]},ticket number {i} is open,{part}" for i, part in enumerate(parts)]
    own_tickets(raw, [*rows, "b,ticket number 1 is open,train"], split="part")
    out = run(raw)
    tested = classification.read(out / "classification/test.jsonl")
    assert {row.text for row in tested} == {f"ticket number {i} is open" for i in range(30)}
    learnt = classification.read(out / "classification/train.jsonl")
    validated = classification.read(out / "classification/validate.jsonl")
    assert len(learnt) + len(validated) == 60
    assert validated


def test_own_instructions_are_read_in_the_encoding_that_is_named(raw):
    own = {"file": "own/chats.jsonl", "encoding": "cp1252"}
    sources = [{"name": "own/chats.jsonl", "files": [], "own": own}]
    write(raw / "instruction/sources.json", json.dumps(sources))
    (raw / "instruction/tasks.json").unlink()
    rows = [{"prompt": f"Café {i}?", "completion": f"Oui {i}."} for i in range(90)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (raw / "instruction/chats.jsonl").write_bytes(lines.encode("cp1252"))
    (entry, *_) = instruction.read(run(raw) / "instruction/train.jsonl")
    assert entry.instruction.startswith("Café ")


def several(raw: Path) -> None:
    """Two sources of instructions, of which the second repeats a task of the first."""
    own = {"file": "own/chats.en.jsonl", "encoding": "cp1252"}
    sources = [
        {"name": "first", "files": [{"path": "first/tasks.json"}]},
        {"name": "own/chats.en.jsonl", "files": [{"path": "chats/chats.en.jsonl"}], "own": own},
    ]
    write(raw / "instruction/sources.json", json.dumps(sources))
    first = [{"instruction": f"Say {i}.", "output": f"{i}"} for i in range(90)]
    chats = [{"prompt": f"Café {i}?", "completion": f"Oui {i}."} for i in range(90)]
    chats.append({"prompt": "SAY 0.", "completion": "0"})
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chats)
    write(raw / "instruction/first/tasks.json", json.dumps(first))
    write(raw / "instruction/chats/chats.en.jsonl", "")
    (raw / "instruction/chats/chats.en.jsonl").write_bytes(lines.encode("cp1252"))


def mixed(raw: Path, name: str, **weights: float) -> dict[str, list[str]]:
    """The tasks of each split, with these weights."""
    settings = WORLD.prepare.instruction.model_copy(update={"weights": weights})
    out = run(raw, name, instruction=settings)
    splits = ("train", "validate", "test")
    return {
        s: [row.task for row in instruction.read(out / f"instruction/{s}.jsonl")] for s in splits
    }


def test_several_sources_of_instructions_are_mixed_by_weight_in_training_alone(raw):
    several(raw)
    once = mixed(raw, "once")
    assert len({task for tasks in once.values() for task in tasks}) == 180
    found = metrics(raw.parent / "once")["instruction"]
    assert (found["rows"], found["duplicates"]) == (181, 1)
    assert found["sources"] == {"chats": 90, "first": 90}
    weighted = mixed(raw, "weighted", first=2.5, chats=0.0)
    said = [task for task in once["train"] if task.startswith("Say")]
    counts = Counter(weighted["train"])
    assert sorted(counts) == sorted(said)
    assert set(counts.values()) == {2, 3}
    assert 2.3 < counts.total() / len(said) < 2.7
    for split in ("validate", "test"):
        assert weighted[split] == [task for task in once[split] if task.startswith("Say")]


def test_an_error_in_one_of_several_sources_names_its_file(raw):
    several(raw)
    (raw / "instruction/chats/chats.en.jsonl").write_bytes(b"{")
    with pytest.raises(UserError, match=r"own/chats\.en\.jsonl: neither JSON nor JSON lines"):
        run(raw)


QUIZ = {
    "file": "own/quiz.csv", "encoding": None, "question": "q", "choices": ["x", "y"],
    "answer": "right", "subject": None, "dev": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("role", "entry", "content", "said"),
    [
        ("classification", FORM | {"file": "own/a.csv"}, "subjekt,queue\nhi,x\n", "own/a.csv: no column 'subject'; did you mean 'subjekt'?"),
        ("classification", FORM | {"file": "own/b.csv", "test": "own/more/a.csv"}, "text\n", "own/more/a.csv: no rows in it"),
        ("classification", FORM | {"file": "own/a.csv"}, "subject,queue\nhi,x\nyou,x\n", "own/a.csv: every row is 'x'; a classifier needs two classes"),
        ("instruction", {"file": "own/a.csv", "encoding": None}, "{", "own/a.csv: neither JSON nor JSON lines"),
        ("mmlu", QUIZ | {"file": "own/a.csv"}, "q,x,y,right\nWhich?,a,b,C\n", "own/a.csv, row 2: answer 'C', allowed are A, B"),
        ("text", {"file": "own/a.csv"}, "", "own/a.csv: no text in it"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_of_ones_own_and_not_its_copy(raw, role, entry, content, said):
    source = {"name": "a", "format": "prose", "files": [{"path": "a/a.txt"}], "own": entry}
    if role == "text":
        source["own"] = {"file": "own/a.txt"}
        write(raw / "text/a/a.txt", content)
        said = said.replace("csv", "txt")
    write(raw / role / "a.csv", content)
    write(raw / role / "b.csv", "subject,queue\nhi,x\n")
    write(raw / role / "sources.json", json.dumps([source]))
    with pytest.raises(UserError) as error:
        run(raw)
    assert str(error.value).startswith(said)


def test_own_questions_are_split_into_those_asked_and_worked_examples(raw):
    entry = {"name": "own/quiz.csv", "files": [], "own": QUIZ}
    write(raw / "mmlu/sources.json", json.dumps([entry]))
    rows = [f"Which is number {i}?,tree,stone,B" for i in (*range(20), 0)]
    write(raw / "mmlu/quiz.csv", "\n".join(["q,x,y,right", *rows]))
    out = run(raw)
    assert metrics(out)["mmlu"] == {
        "subjects": 1, "rows": 21, "duplicates": 1, "contradictory": 0, "ambiguous": 0,
        "dev": 5, "val": 0, "test": 15,
    }  # fmt: skip
    (first, *_) = multiple_choice.read(out / "mmlu/test.jsonl")
    assert (first.subject, first.choices, first.answer) == ("quiz", ["tree", "stone"], 1)


@pytest.mark.parametrize("role", ["classification", "instruction", "preference", "mmlu"])
def test_a_role_without_sources_leaves_a_mark_and_the_rest_as_it_was(raw, role):
    whole = run(raw, "whole")
    write(raw / role / "sources.json", "[]")
    out = run(raw, "without")
    assert names_below(out / role) == ["skipped.json"]
    reason = {"skipped": f"download.{role} is null"}
    assert json.loads((out / role / "skipped.json").read_text()) == reason
    assert metrics(out)[role] == reason
    for other in {"classification", "instruction", "preference", "mmlu"} - {role}:
        assert names_below(out / other) == names_below(whole / other)


def names_below(folder):
    return [path.relative_to(folder).as_posix() for path in files_under(folder)]


def test_splits_of_no_share_are_refused(raw):
    with pytest.raises(UserError, match=r"none is left for validate.*validate_share"):
        run(raw, validate_share=0.0)


def test_real_multiple_choice_files_survive_the_way_to_json_lines(real_data, tmp_path):
    parts, found = prepare.prepare_questions(real_data / "mmlu", None, tmp_path)
    assert found == {"subjects": 57, "dev": 285, "val": 1531, "test": 14042}
    written = multiple_choice.read(tmp_path / "mmlu/test.jsonl")
    assert written == parts["test"]
    lines = (tmp_path / "mmlu/test.jsonl").read_bytes().count(b"\n")
    assert lines == 14042
    naive = sum(
        len(file.read_text(encoding="utf-8").splitlines())
        for file in (real_data / "mmlu/test").glob("*.csv")
    )
    assert naive > 14042
    with (real_data / "mmlu/test/anatomy_test.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.reader(file))
    assert next(q.question for q in written if q.subject == "anatomy") == first[0]


def test_the_world_and_its_news_survive_with_every_fact_asked_for(tmp_path, monkeypatch):
    from llmill.world import LEVELS, phrasing, questions
    from llmill.world import write as write_world

    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "data/download"
    write_world(raw, WORLD.download.world, ("world", "news"))
    listed = []
    for source in ("world", "news"):
        files = [{"path": f"{source}/{p.name}"} for p in sorted((raw / "text" / source).iterdir())]
        listed.append({"name": source, "format": "paragraphs", "files": files})
    (raw / "text/sources.json").write_text(json.dumps(listed))
    write_lists(raw)
    out = run(raw, weights={"world": 1.0, "news": 1.0})
    for found in metrics(out)["text"]["sources"].values():
        assert found["kept"] >= 0.95 * found["read"]
    train = [plain(row["text"]) for row in documents(out, "train")]
    asked = []
    for source, levels in LEVELS.items():
        made = questions.make(WORLD.download.world, source)["test"]
        asked += [q.fact for q in made if q.fact and levels[q.subject] in ("one_fact", "news")]
    assert len(asked) > 300
    rare = [f for f in asked if not told_thrice(phrasing.texts(f, "say"), train)]
    assert rare == []


def plain(text: str) -> str:
    return f" {' '.join(WORD.findall(text.casefold()))} "


def told_thrice(wordings: tuple[str, ...], texts: list[str]) -> bool:
    sought = [plain(wording) for wording in wordings]
    telling = (text for text in texts if any(wording in text for wording in sought))
    return len(list(islice(telling, 3))) == 3
