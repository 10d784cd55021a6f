import json

import pytest

from llmill.contract.errors import UserError
from llmill.tasks import preference
from llmill.tasks.preference import Preference

BRIEF = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Name a metal."}
TIN = {"role": "assistant", "content": "Tin."}
WOOD = {"role": "assistant", "content": "Wood."}


def read(folder, entry):
    (folder / "data.json").write_text(json.dumps([entry]))
    return preference.read_raw(folder / "data.json")


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({"prompt": "Name a metal.", "chosen": "Tin.", "rejected": "Wood."}, [USER]),
        ({"prompt": [USER], "chosen": [TIN], "rejected": [WOOD]}, [USER]),
        ({"prompt": [BRIEF, USER], "chosen": "Tin.", "rejected": [WOOD]}, [BRIEF, USER]),
        ({"chosen": [BRIEF, USER, TIN], "rejected": [BRIEF, USER, WOOD]}, [BRIEF, USER]),
        ({"prompt": "Name a metal. ", "chosen": [USER, TIN], "rejected": [USER, WOOD]}, [USER]),
        ({"prompt": [USER], "chosen": [BRIEF, USER, TIN], "rejected": [BRIEF, USER, WOOD]}, [BRIEF, USER]),
        ({"prompt": [BRIEF], "chosen": [USER, TIN], "rejected": [USER, WOOD]}, [BRIEF, USER]),
        (
            {"prompt": [USER, TIN], "chosen": [USER, TIN], "rejected": [USER, WOOD]},
            [USER, TIN, USER],
        ),
        (
            {"instruction": "Name", "input": "a metal.", "chosen": [USER, TIN], "rejected": [USER, WOOD]},
            [USER],
        ),
        (
            {
                "prompt": [{"from": "human", "value": "Name a metal."}],
                "chosen": {"from": "gpt", "value": "Tin."}["value"],
                "rejected": [{"from": "gpt", "value": "Wood."}],
            },
            [USER],
        ),
        (
            {"instruction": "Name a metal.", "input": "", "output": "x", "chosen": "Tin.", "rejected": "Wood."},
            [USER],
        ),
        (
            {"instruction": "Name one.", "input": "A metal", "chosen": "Tin.", "rejected": "Wood."},
            [{"role": "user", "content": "Name one.\n\nA metal", "instruction": "Name one.", "input": "A metal"}],
        ),
    ],
)  # fmt: skip
def test_a_preference_is_the_same_in_every_form(tmp_path, entry, asked):
    assert read(tmp_path, entry) == [Preference(asked, "Tin.", "Wood.")]


GOOD = {"prompt": "Name a metal.", "chosen": "Tin.", "rejected": "Wood."}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("x", "expected an object with prompt"),
        ({**GOOD, "chosen": None}, "'chosen' is null; expected are prompt"),
        ({"prompt": "Name a metal.", "rejected": "Wood."}, "no key 'chosen'; expected are prompt"),
        ({"chosen": "Tin.", "rejected": "Wood."}, "no key 'prompt'"),
        ({**GOOD, "prompt": " "}, "'prompt' is empty"),
        ({**GOOD, "chosen": 3}, "'chosen', message 2: 'content' is int"),
        ({**GOOD, "rejected": ""}, "'rejected' is empty; remove the pair or write it"),
        ({"prompt": [USER], "chosen": [TIN, USER], "rejected": "x"}, "'chosen': its last message is not"),
        ({"chosen": [BRIEF, USER, TIN], "rejected": [USER, WOOD]}, "answer different messages"),
        ({**GOOD, "chosen": [{**USER, "content": "Name a wood."}, TIN]}, "'chosen': a whole conversation, but the prompt does not"),
        ({**GOOD, "prompt": ["x"]}, "'prompt', message 1: expected an object"),
        ({"prompt": [BRIEF], "chosen": "x", "rejected": "y"}, "begins with the assistant"),
    ],
)  # fmt: skip
def test_a_preference_that_does_not_fit_is_one_line_with_its_place(tmp_path, entry, said):
    with pytest.raises(UserError, match=rf"data\.json, entry 1 of 1.*{said}"):
        read(tmp_path, entry)


def test_the_real_file_with_alpacas_keys_is_read(real_data):
    entries = preference.read_raw(real_data / "instruct/instruction-data-with-preference.json")
    assert len(entries) == 1100


def test_a_system_text_and_a_history_stand_in_front(tmp_path):
    history = [["Name a metal.", "Tin."]]
    rows = [
        {"prompt": "And another?", "chosen": "Iron.", "rejected": "Wood."},
        {"instruction": "And another?", "chosen": "Iron.", "rejected": "Wood."},
    ]
    file = tmp_path / "pairs.json"
    file.write_text(
        json.dumps([{**row, "system": "Be brief.", "history": history} for row in rows])
    )
    for pair in preference.read_raw(file):
        assert [(m["role"], m["content"]) for m in pair.asked] == [
            ("system", "Be brief."),
            ("user", "Name a metal."),
            ("assistant", "Tin."),
            ("user", "And another?"),
        ]
