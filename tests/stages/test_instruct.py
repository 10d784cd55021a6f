"""Stage instruct: answers before and after, and what is learnt."""

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.model.cross_entropy import IGNORE
from llmill.stages.instruct import example, run
from llmill.tasks.instruction import Instruction
from llmill.tasks.prompt import prompt
from tests.evaluation.toys import bytes_tokenizer
from tests.stages.trainee import foundation, instructions, job, smoke


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, block_size=256)
    instructions(tmp_path)
    return tmp_path


def test_it_answers_the_test_split_with_both_models_and_saves_the_tuned_one(world):
    made = job(world)
    run(smoke(), made)
    for model in ("pretrain", "instruct"):
        answers = record.read_json(made.out / f"answers/{model}.json")
        assert [a["instruction"] for a in answers] == ["Say o.", "Say p.", "Say q."]
        assert answers[1]["output"] == "I say p and p."
        assert answers[1]["kind"] == "say"
        assert all(len(a["answer"].encode()) <= 8 * 3 for a in answers)
    metrics = record.read_json(made.out / "metrics.json")
    assert (metrics["train_instructions"], metrics["test_instructions"]) == (12, 3)
    assert checkpoint.load(made.out / "checkpoint").labels is None


def test_a_masked_foundation_is_refused_in_one_line_before_anything_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, causal=False)
    instructions(tmp_path)
    made = job(tmp_path)
    with pytest.raises(UserError, match="next token; classifiers can be made from it: `snakemake"):
        run(smoke(), made)
    assert list(made.out.iterdir()) == []


def test_answers_as_long_as_the_context_are_refused_before_the_first(world):
    made = job(world)
    with pytest.raises(UserError, match=r"max_new_tokens 256 leaves no room .* in the 256 tokens"):
        run(smoke(instruct={"max_new_tokens": 256}), made)
    assert list(made.out.iterdir()) == []


def test_the_loss_sees_the_response_and_its_end_and_nothing_of_the_prompt():
    tokenizer = bytes_tokenizer()
    entry = Instruction("Say o.", "", "oo")
    ids, targets = example(entry, tokenizer, block=256, mask_prompt=True)
    learnt = [t for t in targets if t != IGNORE]
    assert learnt == [ord("o"), ord("o"), tokenizer.end_of_text]
    whole = [tokenizer.end_of_text, *tokenizer.encode(prompt("Say o.", "")), ord("o"), ord("o")]
    assert ids == whole
    assert targets[: len(whole) - 3] == [IGNORE] * (len(whole) - 3)


def test_without_the_mask_the_prompt_is_learnt_too():
    ids, targets = example(
        Instruction("Say o.", "", "oo"), bytes_tokenizer(), 256, mask_prompt=False
    )
    assert targets == [*ids[1:], 256]
