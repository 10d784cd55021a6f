"""Graded responses: kinds, known scores, and nothing right among the wrong."""

from llmill.evaluation.matching.exact_match import same
from llmill.tasks.graded import CONSTANT, CONSTANTS, SCORES, graded, probes
from llmill.tasks.instruction import Instruction

WORLD = [
    Instruction(
        f"Capital of {c}?", "", f"The capital of {c} is {v}.", "q", [v], [f"It is not {v}."]
    )
    for c, v in (("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Peru", "Lima"))
]
REAL = [
    Instruction("Name a fruit.", "", "An apple is a fruit."),
    Instruction("Add 2 and 3.", "", "5"),
    Instruction("Say hi.", "", "Hi"),
]
TEXTS = ["Snow fell. The lake froze."]


def test_every_kind_has_its_score_and_the_reference_is_always_there():
    rows = [row for seed in (1, 2, 3) for row in graded(WORLD, TEXTS, responses=10, seed=seed)]
    assert {r.kind for r in rows} == set(SCORES)
    assert {kind for kind, score in SCORES.items() if score} == {"reference", "paraphrase"}
    assert all(r.score == SCORES[r.kind] for r in rows)
    assert [r.answer for r in rows if r.kind == "reference"] == 3 * [e.output for e in WORLD]


def test_each_kind_is_made_as_it_says():
    by_kind = {
        r.kind: r
        for seed in (1, 2, 3)
        for r in graded(WORLD[:1] + REAL[:1], TEXTS, responses=10, seed=seed)
        if r.entry is WORLD[0]
    }
    assert by_kind["paraphrase"].answer == "Paris"
    assert by_kind["half"].answer == "The capital of"
    assert by_kind["wrong"].answer == "It is not Paris."
    assert by_kind["other"].answer == "An apple is a fruit."
    assert "another" not in by_kind  # nothing else is of its kind
    assert by_kind["constant"].answer in CONSTANTS
    assert by_kind["empty"].answer == ""
    assert by_kind["passage"].answer in ("Snow fell. The lake froze.", "The lake froze.")


def test_without_wrong_answers_a_longer_word_of_the_reference_is_exchanged():
    for seed in range(20):
        for row in graded(REAL, TEXTS, responses=10, seed=seed):
            assert bool(row.answer.strip()) == (row.kind != "empty")
            if row.kind in ("wrong", "other", "half"):
                assert row.answer != row.entry.output


def test_another_answer_is_of_the_same_kind_and_not_the_reference():
    made = [
        (row.entry, row.answer)
        for seed in range(20)
        for row in graded(WORLD + REAL, TEXTS, responses=10, seed=seed)
        if row.kind == "another"
    ]
    assert {answer for entry, answer in made if entry is WORLD[0]} == {
        *("The capital of Italy is Rome.", "The capital of Spain is Madrid."),
        *("The capital of Peru is Lima.", "Rome", "Madrid", "Lima"),
    }


def test_no_form_of_a_right_answer_is_always_right():
    """A bare city is the right answer to one instruction and a wrong one to another."""
    made = [row for seed in range(40) for row in graded(WORLD, TEXTS, responses=10, seed=seed)]
    cities = {"Paris", "Rome", "Madrid", "Lima"}
    for kind in ("paraphrase", "another", "other"):
        assert {row.answer for row in made if row.kind == kind} >= cities


def test_the_answer_that_a_judge_is_measured_with_is_none_that_it_learnt_from():
    assert CONSTANT not in CONSTANTS


def test_the_same_seed_gives_the_same_responses_and_the_number_is_kept():
    assert graded(WORLD, TEXTS, 3, seed=2) == graded(WORLD, TEXTS, 3, seed=2)
    assert graded(WORLD, TEXTS, 3, seed=2) != graded(WORLD, TEXTS, 3, seed=3)
    assert len(graded(WORLD, TEXTS, 3, seed=2)) == 12


def test_without_texts_there_are_no_passages():
    assert "passage" not in {r.kind for r in graded(WORLD, [], responses=10, seed=1)}


def test_a_passage_is_a_piece_of_40_to_200_characters_from_the_beginning_of_a_sentence():
    long = " ".join(f"Sentence {i} is here." for i in range(100))
    pieces = [
        r.answer
        for seed in range(50)
        for r in graded(WORLD, [long], responses=10, seed=seed)
        if r.kind == "passage" and not r.answer.endswith("Sentence 99 is here.")
    ]
    assert all(piece.startswith("Sentence ") and piece in long for piece in pieces)
    assert 38 <= min(map(len, pieces)) <= 45 and 195 <= max(map(len, pieces)) <= 200


def test_probes_look_at_no_instruction():
    entries = [
        Instruction("Capital?", "France", "Paris", "fact"),
        Instruction("Opposite?", "hot", "cold", "word"),
        Instruction("Capital?", "of France", "Paris", "fact"),
        Instruction("Capital?", "Italy", "Rome", "fact"),
    ]
    made = probes(entries)
    assert {name: [row.answer for row in rows] for name, rows in made.items()} == {
        "reference": ["Paris", "cold", "Paris", "Rome"],
        "another": ["Rome", "Paris", "Rome", "Paris"],
        "constant": ["It is true."] * 4,
        "empty": [""] * 4,
    }
    assert [row.score for row in made["reference"]] == [1.0] * 4
    assert {row.score for name in ("another", "constant", "empty") for row in made[name]} == {0.0}


def test_another_answer_is_the_next_of_the_same_kind_that_differs_and_is_found_in_one_pass():
    rows = [("5", "sum"), ("5", "sum"), ("Hi", "say"), ("7", "sum"), ("5", "sum")]
    entries = [Instruction(str(i), "", output, kind) for i, (output, kind) in enumerate(rows)]
    assert [row.answer for row in probes(entries)["another"]] == ["7", "7", "7", "5", "7"]
    same = [Instruction("Say hi.", "", "Hi")] * 20_000  # each once looked through all others
    assert {row.answer for row in probes(same)["another"]} == {""}
    assert probes([])["another"] == []


def test_what_exact_match_counts_as_right_is_never_taught_as_wrong():
    """`Yes` for the reference `Yes.`, which the judge's rules accept."""
    outputs = ("Yes.", "yes", "No.", "NO!", "Maybe so.", "maybe so")
    asked = [
        Instruction(f"Is {n} even?", "", output, "yes or no") for n, output in enumerate(outputs)
    ]
    rows = [row for seed in range(30) for row in graded(asked, TEXTS, responses=10, seed=seed)]
    wrong = {(row.entry.output, row.answer) for row in rows if row.score == 0}
    assert ("Yes.", "No.") in wrong
    assert not [pair for pair in wrong if same(*pair)]
