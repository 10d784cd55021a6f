"""Stage grader: scores known by construction, learnt on one split and measured on another."""

import pytest
from safetensors.torch import load_file

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation.statistics import pairs_right
from llmill.model import checkpoint
from llmill.model.settings import Adapter
from llmill.stages.grader import encode, predict, responses, run
from tests.stages.trainee import documents, foundation, instructions, job, smoke


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, block_size=256)
    instructions(tmp_path)
    documents(tmp_path)
    return tmp_path


def test_it_saves_a_scorer_and_measures_it_on_held_out_responses(world):
    made = job(world)
    run(smoke(), made)
    rows = record.read_json(made.out / "heldout.json")
    metrics = record.read_json(made.out / "metrics.json")
    assert len(rows) == metrics["heldout_responses"] == 9
    assert {row["kind"] for row in rows} >= {"reference"}
    assert all(0 <= row["predicted"] <= 100 for row in rows)
    known, guessed = [r["score"] for r in rows], [r["predicted"] for r in rows]
    again = pairs_right(known, guessed)
    assert metrics["pairs_right"]["value"] == pytest.approx(again["value"])
    assert list(metrics["gives"]) == ["reference", "another", "constant", "empty"]
    assert {found["n"] for found in metrics["gives"].values()} == {3}
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.labels is None
    assert loaded.model.head.out_features == 1


def test_a_scorer_may_be_an_adapter_with_its_heads_and_scores_as_the_checkpoint_does(world):
    made = job(world)
    how = Adapter(rank=2, alpha=4.0, rank_stabilised=False, targets=["out"], dropout=0.0)
    tree = smoke(grader={"adapter": how})
    run(tree, made)
    stored = load_file(made.out / "checkpoint/model.safetensors")
    assert sorted(name for name in stored if "adapters.out" not in name) == [
        "head.bias", "head.weight", "mix.bias", "mix.weight", "pool.bias", "pool.weight"
    ]  # fmt: skip
    loaded = checkpoint.load(made.out / "checkpoint")
    rows = encode(
        responses(tree.grader, world / "data/prepare", "test"), loaded.tokenizer, loaded.max_length
    )
    predicted = [row["predicted"] for row in record.read_json(made.out / "heldout.json")]
    assert [100 * guess for guess in predict(loaded.model, rows)] == predicted


def test_a_masked_foundation_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, causal=False)
    with pytest.raises(UserError, match="next token; classifiers can be made from it: `snakemake"):
        run(smoke(), job(tmp_path))


def test_passages_of_held_out_responses_come_from_held_out_documents(world, monkeypatch):
    encoded = []

    def keep(rows, tokenizer, block):
        encoded.append([row.answer for row in rows if row.kind == "passage"])
        return encode(rows, tokenizer, block)

    monkeypatch.setattr("llmill.stages.grader.encode", keep)
    run(smoke(grader={"responses": 7}), job(world))
    train, *held_out = (set(answers) for answers in encoded[:3])
    assert train and train <= {"Rain fell. It was cold.", "It was cold."}
    assert held_out and all(
        answers and answers <= {"Snow lay. It froze.", "It froze."} for answers in held_out
    )
