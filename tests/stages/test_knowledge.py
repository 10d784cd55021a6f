"""Stage knowledge: what a tuned model kept, of two models that are asked the same."""

import json
import shutil
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.stages.knowledge import compared, run
from llmill.stages.settings.knowledge import Knowledge
from llmill.tasks import multiple_choice
from llmill.tasks.multiple_choice import Question
from llmill.tasks.templates import ALPACA
from llmill.text.tokenization import shards
from tests.evaluation.toys import bytes_tokenizer, decoder
from tests.jobs import Job

SETTINGS = Knowledge(seed=1, threads=1, max_questions=None, batch_size=4, confidence=0.95)
PARAMS = SimpleNamespace(knowledge=SETTINGS)


def question(subject: str, number: int) -> Question:
    return Question(subject, f"{subject} {number}?", ["aa", "bb", "cc", "dd"], number % 4)


@pytest.fixture
def finished(tmp_path):
    """Six questions of one fact and two of sums, held-out text of two sources, a foundation model, and
    an assistant that is the same but for its template.
    """
    folder = tmp_path / "data/prepare/mmlu"
    folder.mkdir(parents=True)
    asked = [question("planets", n) for n in range(6)] + [question("sums", n) for n in range(2)]
    multiple_choice.write(folder / "test.jsonl", asked)
    record.write_json(folder / "levels.json", {"planets": "one_fact", "sums": "arithmetic"})
    record.write_json(folder / "entities.json", {f"planets {n}?": "Mars" for n in (1, 3)})
    tokenizer, held_out = bytes_tokenizer(), tmp_path / "data/tokenize/validate"
    held_out.mkdir(parents=True)
    texts, sources = ["one " * 200, "two " * 200], ["first", "second"]
    entry = shards.write(held_out, "0", texts, tokenizer, sources)
    shards.write_index(held_out, tokenizer.n_vocab, [entry])
    model = decoder(block_size=256)
    save(tmp_path, "pretrain", model)
    save(tmp_path, "instruct", model, ALPACA)
    return tmp_path


def save(root, name, model, template=None):
    folder = root / "results" / name / "checkpoint"
    checkpoint.save(folder, checkpoint.Checkpoint(model, bytes_tokenizer(), template=template))


def measured(root):
    job = Job(root / f"out{len(list(root.glob('out*')))}", "instruct", root=root)
    run(PARAMS, job)
    return json.loads((job.out / "metrics.json").read_text()), job


def test_the_same_model_keeps_all_and_only_questions_of_one_fact_are_asked(finished):
    metrics, job = measured(finished)
    assert metrics["questions"] == 6
    assert metrics["chance"] == 0.25
    for way in ("cloze", "in_template", "written", "answered"):
        each = metrics[way]
        assert each["before"] == each["after"]
        assert (each["lost"], each["gained"], each["difference"]["value"]) == (0, 0, 0.0)
    assert {
        name: (x["before"] == x["after"], x["tokens"]) for name, x in metrics["loss"].items()
    } == {
        "first": (True, 800),
        "second": (True, 736),
    }
    rows = json.loads((job.out / "questions.json").read_text())
    assert [row["answer"] for row in rows] == ["aa", "bb", "cc", "dd", "aa", "bb"]
    assert [row["cluster"] for row in rows] == [0, 1, 2, 1, 4, 5]
    assert {type(row["text_after"]) for row in rows} == {str}
    assert {type(row["written_after"]) for row in rows} == {bool}


def test_another_model_loses_and_gains_and_its_loss_is_its_own(finished):
    shutil.rmtree(finished / "results/instruct")
    save(finished, "instruct", decoder(seed=1, block_size=256), ALPACA)
    metrics, _ = measured(finished)
    each = metrics["cloze"]  # of six questions the one always takes dd, the other aa
    assert (each["kept"], each["lost"], each["gained"]) == (0, 1, 2)
    assert (each["before"]["value"], each["after"]["value"]) == (1 / 6, 2 / 6)
    assert metrics["loss"]["first"]["before"] != metrics["loss"]["first"]["after"]


def test_kept_lost_and_gained_are_counted_question_by_question():
    before, after = [True, True, True, False, False], [True, False, False, True, False]
    found = compared(before, after, range(5), SETTINGS)
    assert (found["kept"], found["lost"], found["gained"]) == (1, 2, 1)
    assert (found["before"]["value"], found["after"]["value"]) == (0.6, 0.4)
    assert found["difference"]["value"] == pytest.approx(-0.2)
    assert found["difference"]["low"] < -0.2 < found["difference"]["high"]


def test_questions_about_one_entity_are_kept_or_lost_together():
    before, after = [True] * 40, [True] * 20 + [False] * 20
    alone, together = (
        compared(before, after, clusters, SETTINGS)
        for clusters in (range(40), [i // 4 for i in range(40)])
    )
    for figure in ("after", "difference"):
        widths = [each[figure]["high"] - each[figure]["low"] for each in (alone, together)]
        assert widths[1] > 1.5 * widths[0]
        assert alone[figure]["value"] == together[figure]["value"]


def test_no_questions_are_refused_in_one_line(finished):
    multiple_choice.write(finished / "data/prepare/mmlu/test.jsonl", [])
    with pytest.raises(UserError, match=r"test\.jsonl: no questions; `dvc repro prepare`"):
        measured(finished)
