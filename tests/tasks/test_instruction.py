import json

import pytest

from llmill.contract.errors import UserError
from llmill.tasks import instruction
from llmill.tasks.instruction import Instruction
from llmill.tasks.split import split

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Tin."}


def read(folder, value):
    file = folder / "data.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return instruction.read_raw(file)


def test_entries_are_read_with_what_the_world_adds_and_without_other_keys(tmp_path):
    more = {**GOOD, "kind": "question", "paraphrases": ["It is tin."], "wrong": ["Wood."]}
    assert read(tmp_path, [{**GOOD, "chosen": "x", "rejected": "y"}, more]) == [
        Instruction("Name a metal.", "", "Tin."),
        Instruction("Name a metal.", "", "Tin.", "question", ["It is tin."], ["Wood."]),
    ]


def test_half_a_character_named_by_an_escape_is_replaced_and_a_whole_one_kept(tmp_path):
    text = '[{"instruction": "a\\ud83d", "input": "\\ud83d\\ude00", "output": "b"}]'
    assert read(tmp_path, text) == [Instruction("a\ufffd", "\U0001f600", "b")]


USER = {"role": "user", "content": "Name a metal."}
TIN = {"role": "assistant", "content": "Tin."}
BRIEF = {"role": "system", "content": "Be brief."}
AND = {"role": "user", "content": "And another?"}
IRON = {"role": "assistant", "content": "Iron."}
SAID = {"human": "Name a metal.", "gpt": "Tin."}

ONE_TURN = [
    {"instruction": "Name a metal.", "input": None, "output": "Tin."},
    {"instruction": "Name a metal.", "output": "Tin."},
    {"instruction": "Name a metal.", "input": " \n", "output": "Tin."},
    {"prompt": "Name a metal.", "completion": "Tin."},
    {"prompt": [USER], "completion": [TIN]},
    {"messages": [USER, TIN]},
    {"messages": [USER, TIN, AND]},
    {"messages": None, "conversations": [{"from": k, "value": v} for k, v in SAID.items()]},
    {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "Name a "}, {"type": "text", "text": "metal."}]}, TIN]},
]  # fmt: skip


@pytest.mark.parametrize("entry", ONE_TURN)
def test_one_turn_is_the_same_instruction_in_every_form(tmp_path, entry):
    assert read(tmp_path, [entry]) == [Instruction("Name a metal.", "", "Tin.")]


@pytest.mark.parametrize(
    "entry",
    [
        {"messages": [BRIEF, USER, TIN, AND, IRON]},
        {"messages": [{**BRIEF, "role": "developer"}, USER, {**TIN, "tool_calls": None}, AND, IRON]},
        {"prompt": [BRIEF, USER, TIN, AND], "completion": [IRON]},
        {"conversations": [
            {"from": "system", "value": "Be brief."}, {"from": "human", "value": "Name a metal."},
            {"from": "gpt", "value": "Tin."}, {"from": "human", "value": "And another?"},
            {"from": "gpt", "value": "Iron."}]},
    ],
)  # fmt: skip
def test_several_turns_are_an_instruction_behind_earlier_messages(tmp_path, entry):
    (read_entry,) = read(tmp_path, [entry])
    assert read_entry == Instruction("And another?", "", "Iron.", earlier=[BRIEF, USER, TIN])
    assert read_entry.messages == [BRIEF, USER, TIN, AND, IRON]
    assert read_entry.task == "Be brief.\nName a metal.\nTin.\nAnd another?\n"


def test_a_missing_response_is_an_empty_one_whatever_it_is_written_as(tmp_path):
    entries = [{**GOOD, "output": None}, {"prompt": "Name a metal.", "completion": None}]
    assert read(tmp_path, entries) == [Instruction("Name a metal.", "", "")] * 2


@pytest.mark.parametrize(
    "entry",
    [
        {**GOOD, "system": "Be brief."},
        {"prompt": "Name a metal.", "completion": "Tin.", "system": "Be brief."},
        {"system": "Be brief.", "conversations": [{"from": k, "value": v} for k, v in SAID.items()]},
        {"system": "Be brief. ", "messages": [BRIEF, USER, TIN]},
    ],
)  # fmt: skip
def test_a_system_text_beside_the_messages_stands_in_front_of_them(tmp_path, entry):
    assert read(tmp_path, [entry]) == [Instruction("Name a metal.", "", "Tin.", earlier=[BRIEF])]


def test_a_history_is_what_was_said_before(tmp_path):
    entry = {
        "instruction": "And another?",
        "output": "Iron.",
        "history": [["Name a metal.", "Tin."]],
    }
    (found,) = read(tmp_path, [{**entry, "system": "Be brief."}])
    assert found.messages == [BRIEF, USER, TIN, AND, IRON]
    for nothing in ([], None, ""):
        assert read(tmp_path, [{**GOOD, "history": nothing}])[0].earlier == []
    prompt = {
        "prompt": "And another?",
        "completion": "Iron.",
        "history": [["Name a metal.", "Tin."]],
    }
    assert read(tmp_path, [prompt])[0].messages == [USER, TIN, AND, IRON]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([GOOD, {"instruction": "x"}], "entry 2 of 2: no key 'output' beside 'instruction'"),
        ([GOOD, {"prompt": "x", "output": "y"}], "entry 2 of 2: no key 'completion' beside 'prompt'"),
        ([GOOD, {"question": "x"}], "entry 2 of 2: none of the forms that are read: instruction"),
        ([GOOD, "text"], "entry 2 of 2: expected an object"),
        ([{**GOOD, "output": 3}], "entry 1 of 1: 'output' is int"),
        ([{**GOOD, "history": ["x"]}], "'history', 1: expected a question and its answer"),
        ([{**GOOD, "history": [["x", " "]]}], "'history', 1: the assistant's text is empty; remove"),
        ([{"messages": [BRIEF, USER, TIN], "system": "x"}], "'system' beside messages that have an"),
        ([{"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [1]}]}],
         "message 2: calls of tools are not read; remove the conversation"),
        ([{**GOOD, "input": 3}], "entry 1 of 1: 'input' is int"),
        ([{**GOOD, "instruction": " "}], "entry 1 of 1: 'instruction' is empty"),
        ([{**GOOD, "wrong": "x"}], "entry 1 of 1: 'wrong' is str"),
        ([{**GOOD, "wrong": [1]}], "entry 1 of 1: 'wrong' is int"),
        ([{**GOOD, "kind": 1}], "entry 1 of 1: 'kind' is int"),
        ([{"prompt": [USER], "completion": "x"}], "entry 1 of 1: 'prompt' is a list of messages, so"),
        ([{"messages": []}], r"entry 1 of 1, 'messages': expected a list of messages, found \[\]"),
        ([{"messages": "hi"}], "'messages': expected a list of messages, found 'hi'"),
        ([{"messages": [TIN, USER, TIN]}], "'messages': the conversation begins with the assistant"),
        ([{"messages": [BRIEF, TIN]}], "'messages': the conversation begins with the assistant"),
        ([{"messages": [USER, TIN, TIN]}], "message 3 is an answer, but none of the user's is right"),
        ([{"messages": [USER]}], "no message of the assistant, so nothing to learn"),
        ([{"messages": [USER, {**TIN, "role": "tool"}]}], "message 2: calls of tools are not read"),
        ([{"messages": [USER, {**TIN, "role": None}]}], "message 2: unknown role None"),
        ([{"messages": [USER, {**TIN, "content": " "}]}], "message 2: 'content' is empty"),
        ([{"messages": [USER, {**TIN, "content": None}]}], "message 2: 'content' is null"),
        ([{"messages": [USER, {"role": "assistant"}]}], "message 2: no key 'content'"),
        ([{"messages": [USER, "x"]}], "message 2: expected an object with role and content"),
        ([{"messages": [{"role": "user", "content": [{"type": "image_url"}]}, TIN]}],
         "message 1: 'content' has a part of type 'image_url', expected text"),
        ([{"conversations": [{"from": "human", "value": 3}]}], "message 1: 'value' is int"),
        ([], "empty; expected a list"),
        ("", "empty; expected a list"),
        ("[{", "not JSON"),
        ('[{"a": "b"},\n {"a": "c"},\n]', r"not JSON .*: line [23] column"),
        ('{"a": "b"}\n{"a": }', r"line 2: neither JSON nor JSON lines .*line 1 column 7"),
        ("a,b\nc,d", "neither JSON nor JSON lines"),
        ("[" * 200_000 + "]" * 200_000, "not JSON .more than 64 objects and lists"),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_is_refused_with_its_number(tmp_path, value, said):
    with pytest.raises(UserError, match=rf"data\.json.*{said}") as refused:
        read(tmp_path, value)
    assert "\n" not in str(refused.value)


def test_entries_come_back_as_written(tmp_path):
    entries = [
        Instruction("a", "b", "c"),
        Instruction("d", "", "é", "k", ["p"], ["w", "x"]),
        Instruction("e", "", "f", earlier=[BRIEF]),
    ]
    instruction.write(tmp_path / "a.jsonl", entries)
    assert instruction.read(tmp_path / "a.jsonl") == entries
    line = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(line) == {
        "instruction": "a",
        "input": "b",
        "output": "c",
        "kind": None,
        "paraphrases": [],
        "wrong": [],
    }


def test_the_real_files_are_read_in_every_order_of_keys(real_data):
    counts = {
        file.name: len(instruction.read_raw(file))
        for file in sorted((real_data / "instruct").glob("*.json"))
    }
    assert counts == {
        "alpaca_data.json": 52002,
        "dolly_3k.json": 2996,
        "instruction-data-with-preference.json": 1100,
        "instruction-data.json": 1100,
    }


def test_escapes_of_the_real_alpaca_file_are_characters_and_inputs_may_be_empty(real_data):
    entries = instruction.read_raw(real_data / "instruct/alpaca_data.json")
    assert sum(not entry.input for entry in entries) == 31323
    assert sum("é" in entry.output for entry in entries) > 100
    assert not any("\\u00" in entry.output for entry in entries)


def test_real_entries_that_ask_the_same_are_in_one_split(real_data):
    entries = instruction.read_raw(real_data / "instruct/instruction-data.json")
    parts = split(entries, lambda entry: entry.task, 0.05, 0.1)
    tasks = [{entry.task for entry in part} for part in parts.values()]
    assert len(set.union(*tasks)) == 1075
    assert sum(map(len, tasks)) == 1075
    assert {name: len(found) for name, found in parts.items()} == {
        "train": 929,
        "validate": 65,
        "test": 106,
    }
