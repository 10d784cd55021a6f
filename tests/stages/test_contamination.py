"""Stage contamination: what it finds of a few items in a few texts, and what it says of a null role."""

import json
import shutil
from types import SimpleNamespace

import pytest

from llmill.contract import record, skipped
from llmill.evaluation import items
from llmill.evaluation.statistics.intervals import clustered_share
from llmill.stages.contamination import run
from llmill.stages.settings.contamination import Contamination
from llmill.tasks import classification, instruction, multiple_choice, preference
from llmill.tasks.classification import Message
from llmill.tasks.conversation import message
from llmill.tasks.instruction import Instruction
from llmill.tasks.multiple_choice import Question
from llmill.tasks.preference import Preference
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document
from tests.jobs import Job
from tests.stages.counting import counting, counts

SETTINGS = Contamination(words=5, shortest=3, threshold=0.5, reach=8, confidence=0.95)
ROLES = ("mmlu", "instruction", "preference", "classification")
TEXTS = [
    "Ducks quack. Which sound does a horse make? Answer: a neigh. Cows moo.",
    "What is the capital of France? And what is the colour of gold? Yellow.",
]
QUESTIONS = [
    Question("animals", "Which sound does a horse make?", ["a neigh", "a bray"], 0),
    Question("places", "What is the capital of France?", ["Rome", "Paris", "Bonn"], 1),
    Question("places", "Of which country is Rome the capital?", ["Italy", "Spain"], 0),
]
TASKS = [
    Instruction("Write it in the plural.", "The poem is old.", "The poems are old.", "plural"),
    Instruction("Name the capital of Chad.", "", "N'Djamena", "question", [], ["Abuja"]),
]
MESSAGES = [
    Message("spam", "You have won a free prize today"),
    Message("ham", "You have won a free prize today, said Max, and I laughed"),
    Message("ham", "see you at noon then"),
]


def write(root, without=()):
    """Prepared data, and what models said of it; a role in `without` is null."""
    prepared, results = root / "data/prepare", root / "results"
    for folder in (
        *(prepared / role for role in ROLES),
        *(results / of / model for of in ("mmlu", "judge") for model in ("pretrain", "instruct")),
        results / "accuracy",
    ):
        folder.mkdir(parents=True)
    documents = [Document(text, "book", str(n)) for n, text in enumerate(TEXTS)]
    parquet.write(prepared / "text/train", documents, 1)
    multiple_choice.write(prepared / "mmlu/test.jsonl", QUESTIONS)
    record.write_json(prepared / "mmlu/entities.json", {})
    learnt = Instruction("Name the capital of Chad.", "", "The capital of Chad is N'Djamena.")
    instruction.write(prepared / "instruction/train.jsonl", [learnt])
    instruction.write(prepared / "instruction/test.jsonl", TASKS)
    asked = [message("user", "Write it in the plural. The poem is old.")]
    preference.write(
        prepared / "preference/train.jsonl", [Preference(asked, "The poems are new.", "No.")]
    )
    classification.write(
        prepared / "classification/train.jsonl",
        [Message("spam", "Mum, you have won a free prize!"), Message("ham", "No.")],
    )
    classification.write(prepared / "classification/test.jsonl", MESSAGES)
    (prepared / "classification/tests").mkdir()
    everyday = [Message("ham", "I am at the bus stop"), Message("spam", "won a free prize today")]
    classification.write(prepared / "classification/tests/everyday.jsonl", everyday)
    for model, right in (("pretrain", [True, False, True]), ("instruct", [True, True, False])):
        rows = [
            {
                "subject": question.subject,
                "question": question.question,
                "letter_right": not hit,
                "cloze_right": hit,
                "cloze_by_characters_right": hit,  # not known here
            }
            for question, hit in zip(QUESTIONS, right, strict=True)
        ]
        record.write_json(results / "mmlu" / model / "questions.json", rows)
        rows = [{"instruction": t.instruction, "input": t.input, "exact": right[1]} for t in TASKS]
        record.write_json(results / "judge" / model / "scores.json", rows)
    predictions = [{"all": "spam", "all_from_random": "ham"}] * 3
    rows = [
        {"text": m.text, "label": m.label, "predictions": p}
        for m, p in zip(MESSAGES, predictions, strict=True)
    ]
    record.write_json(results / "accuracy/predictions.json", rows)
    for role in without:
        for file in record.files_under(prepared / role):
            file.unlink()
        skipped.write(prepared / role, f"download.{role} is null")
        for file in {
            "mmlu": ["mmlu/pretrain/questions.json", "mmlu/instruct/questions.json"],
            "instruction": ["judge/pretrain/scores.json", "judge/instruct/scores.json"],
            "preference": [],
            "classification": ["accuracy/predictions.json"],
        }[role]:
            record.write_json(results / file, [])


def measured(root, settings=SETTINGS, **how):
    write(root, **how)
    job = Job(root / "out", variants=["pretrain", "instruct"], root=root)
    run(SimpleNamespace(contamination=settings), job)
    return json.loads((job.out / "metrics.json").read_text()), job


def counted(figures):
    """Numbers in place of shares."""
    names = ("overlapping", "above_threshold", "right_answer", "wrong_answer")
    shares = [figures[name] for name in names]
    return [(round(share["value"] * share["n"]), share["n"]) for share in shares]


def test_items_of_every_kind_are_counted_with_their_answers_and_a_control(tmp_path):
    metrics, job = measured(tmp_path)
    kinds = metrics["kinds"]
    assert list(kinds) == ["questions", "instructions", "messages", "messages: everyday"]
    assert {name: counted(each) for name, each in kinds.items()} == {
        "questions": [(2, 3), (2, 3), (1, 2), (0, 2)],
        "instructions": [(2, 2), (2, 2), (1, 1), (0, 1)],
        "messages": [(2, 3), (1, 3), (1, 2), (1, 2)],
        "messages: everyday": [(0, 2), (0, 2), (0, 0), (0, 0)],
    }
    by_part = {part: share["value"] for part, share in kinds["instructions"]["by_part"].items()}
    assert by_part == {"documents": 0, "instructions": 0.5, "preferences": 0.5, "messages": 0}
    assert [kinds[kind]["longest"] for kind in kinds] == [6, 5, 6, 0]
    assert (metrics["items"], metrics["overlapping"]) == (10, 6)
    assert "questions: 66.7% of 3 overlap" in job.said


def test_the_documents_are_counted(tmp_path, monkeypatch, capsys):
    write(tmp_path)
    job = Job(tmp_path / "out", variants=["pretrain", "instruct"], root=tmp_path)
    run(SimpleNamespace(contamination=SETTINGS), counting(job, monkeypatch))
    assert counts(capsys.readouterr().out, "documents searched") == [(1, 2), (2, 2)]


def test_an_input_in_the_text_with_its_answer_counts_whatever_the_instruction(tmp_path):
    """A sentence beside its passive form gives the answer away to whoever is asked for it."""
    write(tmp_path)
    prepared = tmp_path / "data/prepare"
    story = "The cook locked the drawer. The drawer was locked by the cook."
    shutil.rmtree(prepared / "text/train")
    parquet.write(prepared / "text/train", [Document(story, "book", "0")], 1)
    ask = "Write the sentence in the passive voice, and nothing else."
    sentences = ("The cook locked the drawer.", "The girl read the book.")
    passives = ("The drawer was locked by the cook.", "The book was read by the girl.")
    tasks = [Instruction(ask, *pair, "passive") for pair in zip(sentences, passives, strict=True)]
    tasks.append(Instruction(ask, "Go home.", "None.", "passive"))  # too short to be one alone
    instruction.write(prepared / "instruction/test.jsonl", tasks)
    found = list(items.asked(prepared, SETTINGS.shortest))[1]
    assert [item.text for item in found.items] == [*sentences, f"{ask}\nGo home."]
    job = Job(tmp_path / "out", variants=["pretrain", "instruct"], root=tmp_path)
    run(SimpleNamespace(contamination=SETTINGS), job)
    kinds = json.loads((job.out / "metrics.json").read_text())["kinds"]
    assert counted(kinds["instructions"]) == [(1, 3), (1, 3), (1, 1), (0, 1)]


def test_a_test_of_one_label_has_the_other_label_as_its_control(tmp_path):
    write(tmp_path)
    file = tmp_path / "data/prepare/classification/test.jsonl"
    classification.write(file, MESSAGES[:1])
    job = Job(tmp_path / "out", variants=["pretrain", "instruct"], root=tmp_path)
    run(SimpleNamespace(contamination=SETTINGS), job)
    kinds = json.loads((job.out / "metrics.json").read_text())["kinds"]
    assert counted(kinds["messages"]) == [(1, 1), (1, 1), (1, 1), (0, 1)]


def test_a_row_says_what_an_item_shares_and_where(tmp_path):
    _, job = measured(tmp_path)
    rows = json.loads((job.out / "items.json").read_text())
    assert [row["kind"] for row in rows] == ["questions"] * 2 + ["instructions"] * 2 + [
        "messages"
    ] * 2
    assert rows[1] == {
        "kind": "questions",
        "subject": "places",
        "text": "What is the capital of France?",
        "words": 6,
        "run": 5,
        "runs": 2,
        "found": {"documents": 2},
        "share": 1.0,
        "longest": 6,
        "right_answer": False,
        "wrong_answer": False,
        "example": {
            "part": "documents",
            "source": "book",
            "number": 2,
            "shared": "what is the capital of france",
        },
    }
    assert rows[2]["example"] == {
        "part": "preferences",
        "source": "train.jsonl",
        "number": 1,
        "shared": "the poem is old",
    }
    assert (rows[2]["right_answer"], rows[2]["found"]) == (None, {"preferences": 1})
    assert [(row["label"], row["right_answer"], row["wrong_answer"]) for row in rows[4:]] == [
        ("spam", True, False),
        ("ham", False, True),
    ]


def test_scores_are_told_with_and_without_the_items_that_the_model_learnt_from(tmp_path):
    metrics, _ = measured(tmp_path)

    def numbers(scores):
        return {name: (round(s["value"] * s["n"]), s["n"]) for name, s in scores.items()}

    scores = metrics["scores"]
    assert numbers(scores["questions"]["pretrain"]["cloze"]) == {
        "all": (2, 3),
        "overlapping": (1, 2),
        "without": (1, 1),
        "below_threshold": (1, 1),
    }
    assert numbers(scores["questions"]["instruct"]["letter"])["without"] == (1, 1)
    # The foundation model saw no instruction, the assistant one of both.
    exact = {
        model: numbers(scores["instructions"][model]["exact_match"])
        for model in scores["instructions"]
    }
    assert exact["pretrain"]["overlapping"] == (0, 0)
    assert exact["instruct"]["overlapping"] == (1, 1)
    assert numbers(scores["messages"]["all"]["accuracy"]) == {
        "all": (1, 3),
        "overlapping": (1, 2),
        "without": (0, 1),
        "below_threshold": (0, 2),
    }
    assert list(scores["messages"]) == ["all", "all_from_random"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_null_is_left_out_and_the_others_stay(tmp_path, role):
    metrics, _ = measured(tmp_path, without=[role])
    left = {
        "mmlu": ["instructions", "messages", "messages: everyday"],
        "instruction": ["questions", "messages", "messages: everyday"],
        "preference": ["questions", "instructions", "messages", "messages: everyday"],
        "classification": ["questions", "instructions"],
    }[role]
    assert list(metrics["kinds"]) == left
    assert list(metrics["scores"]) == [kind for kind in left if ":" not in kind]


def test_without_any_items_the_stage_leaves_the_mark(tmp_path):
    metrics, job = measured(tmp_path, without=["mmlu", "instruction", "classification"])
    why = "download.mmlu is null, download.instruction is null, download.classification is null"
    assert metrics == {"skipped": why}
    assert skipped.reason(job.out) == why


def test_results_of_some_of_the_items_are_joined_by_their_text(tmp_path):
    write(tmp_path)
    file = tmp_path / "results/mmlu/pretrain/questions.json"
    rows = json.loads(file.read_text())[::-1][:2]
    record.write_json(file, [*rows, rows[0] | {"question": "Which of them was removed?"}])
    job = Job(tmp_path / "out", variants=["pretrain", "instruct"], root=tmp_path)
    run(SimpleNamespace(contamination=SETTINGS), job)
    found = json.loads((job.out / "metrics.json").read_text())["scores"]["questions"]["pretrain"]
    assert {name: share["n"] for name, share in found["cloze"].items()} == {
        "all": 2,
        "overlapping": 1,
        "without": 1,
        "below_threshold": 1,
    }


def test_questions_about_one_entity_count_together_as_in_stage_mmlu(tmp_path):
    write(tmp_path)
    about = {question.question: "Europe" for question in QUESTIONS[1:]}
    record.write_json(tmp_path / "data/prepare/mmlu/entities.json", about)
    job = Job(tmp_path / "out", variants=["pretrain", "instruct"], root=tmp_path)
    run(SimpleNamespace(contamination=SETTINGS), job)
    found = json.loads((job.out / "metrics.json").read_text())["scores"]["questions"]["instruct"]
    rights, clusters = [True, True, False], ["animals", "Europe", "Europe"]
    assert found["cloze"]["all"] == clustered_share(rights, clusters, confidence=0.95)
