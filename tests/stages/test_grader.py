"""Stage grader: scores known by construction, learnt on one split and measured on another."""

import shutil
import signal

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from llmill.contract import record
from llmill.contract.errors import Stopped, UserError
from llmill.evaluation.matching.rouge import rouge_l
from llmill.evaluation.statistics.intervals import pairs_right
from llmill.model import checkpoint
from llmill.model.settings import Adapter
from llmill.stages.grader import JudgeScores, encode, figures, predict, responses, run
from llmill.stages.settings.grader import Grader
from llmill.tasks.graded import Graded
from llmill.tasks.instruction import Instruction
from tests.jobs import Track
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
    with pytest.raises(UserError, match="next token; train classifiers from it: `snakemake"):
        run(smoke(), job(tmp_path))


def test_passages_of_held_out_responses_come_from_held_out_documents(world, monkeypatch):
    encoded = []

    def keep(rows, tokenizer, block):
        encoded.append([row.answer for row in rows if row.kind == "passage"])
        return encode(rows, tokenizer, block)

    monkeypatch.setattr("llmill.stages.grader.encode", keep)
    run(smoke(grader={"responses": 7}), job(world))
    *held_out, train = (set(encoded[number]) for number in (0, -2, -1))
    assert train and train <= {"Rain fell. It was cold.", "It was cold."}
    assert held_out and all(
        answers and answers <= {"Snow lay. It froze.", "It froze."} for answers in held_out
    )


def trained(world, name: str, **values: int):
    """What the stage leaves in a folder of its own."""
    place = world / name
    place.mkdir()
    made = job(place)
    run(smoke(grader={"responses": 7, **values}), made)
    return made.out


def files(folder):
    """Every file below a folder, but for the judges of further seeds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "seed_" not in path.as_posix()
    }


def test_the_judge_of_each_of_several_seeds_is_the_one_that_its_seed_alone_makes(world):
    both = trained(world, "both", seed=1, seeds=2)
    one, two = (trained(world, str(seed), seed=seed) for seed in (1, 2))
    assert sorted(path.name for path in both.iterdir()) == [
        "checkpoint", "curves-2.csv", "curves.csv", "heldout.json", "metrics.json"
    ]  # fmt: skip
    assert files(both / "checkpoint") == files(one / "checkpoint")
    further = both / "checkpoint/seed_2"
    assert {p.name: p.read_bytes() for p in further.iterdir() if p.is_file()} == {
        p.name: p.read_bytes() for p in (two / "checkpoint").iterdir() if p.is_file()
    }
    weights = [load_file(f / "checkpoint/model.safetensors")["head.weight"] for f in (one, two)]
    assert not weights[0].equal(weights[1])
    assert (both / "curves.csv").read_bytes() == (one / "curves.csv").read_bytes()


def test_figures_of_several_seeds_are_means_over_judges_of_the_same_responses(world):
    alone = record.read_json(trained(world, "one") / "metrics.json")
    made = trained(world, "three", seeds=3)
    metrics, rows = (record.read_json(made / f"{name}.json") for name in ("metrics", "heldout"))
    by_seed = metrics.pop("by_seed")
    assert list(by_seed) == ["1", "2", "3"]
    assert "by_seed" not in alone
    assert list(alone) == list(metrics)
    assert by_seed["1"] == {name: alone[name] for name in by_seed["1"]}
    assert metrics["validation_loss"] == alone["validation_loss"]
    for name in ("pairs_right", "paraphrases_right", "above_another"):
        each = [figures[name] for figures in by_seed.values()]
        assert metrics[name]["value"] == pytest.approx(sum(x["value"] for x in each) / 3)
        assert (metrics[name]["covers"], metrics[name]["n"]) == ("both", each[0]["n"])
        assert {x["covers"] for x in each} == {"items"}
    assert {figure["covers"] for figure in metrics["gives"].values()} == {"both"}
    assert metrics["paraphrases_rouge_l"] == alone["paraphrases_rouge_l"]
    for row in rows:
        assert list(row["by_seed"]) == ["1", "2", "3"]
        assert row["predicted"] == pytest.approx(sum(row["by_seed"].values()) / 3)
    assert len({row["by_seed"]["2"] - row["by_seed"]["1"] for row in rows}) > 1


def test_responses_to_one_instruction_are_a_cluster():
    """Twelve instructions, of which a judge reads half well and half badly."""
    rows, predicted = [], []
    for number in range(12):
        entry = Instruction(f"Say {number}.", "", f"I say {number}")
        of_kinds = {"reference": 1.0, "paraphrase": 1.0, "wrong": 0.0, "another": 0.0}
        rows += [Graded(entry, kind, str(number), score) for kind, score in of_kinds.items()]
        predicted += [0.9, 0.8, 0.3, 0.2] if number % 2 else [0.5, 0.1, 0.6, 0.7]
    nothing = {"reference": [1.0, 1.0], "another": [0.0, 0.0]}
    found = figures(rows, [JudgeScores([], 0, 0.0, predicted, nothing)])
    tasks = [row.entry.task for row in rows]
    scores = [row.score for row in rows]
    assert found["pairs_right"] == pairs_right(scores, predicted, clusters=tasks)
    close = [number for number, row in enumerate(rows) if row.kind != "reference"]
    columns = [[each[number] for number in close] for each in (scores, predicted)]
    of = [tasks[number] for number in close]
    assert found["paraphrases_right"] == pairs_right(*columns, clusters=of)
    overlaps = [rouge_l(rows[number].answer, rows[number].entry.output) for number in close]
    assert found["paraphrases_rouge_l"] == pairs_right(columns[0], overlaps, clusters=of)
    alone = pairs_right(scores, predicted)
    wide, narrow = (each["high"] - each["low"] for each in (found["pairs_right"], alone))
    assert wide > 1.2 * narrow


class StopsAt(Track):
    """A tracker that is handed so many rows of curves, then asks for a stop."""

    def __init__(self, stop, rows: int):
        super().__init__()
        self.stop, self.rows = stop, rows

    def metrics(self, values, step=None):
        self.rows -= step is not None
        if self.rows == 0:
            self.stop.signum = signal.SIGTERM


def test_a_stop_between_two_seeds_costs_nothing(world):
    whole = trained(world, "whole", seeds=2)
    (world / "parts").mkdir()
    made = job(world / "parts")
    made.track = StopsAt(made.stop, 1)
    tree = smoke(grader={"responses": 7, "seeds": 2})
    with pytest.raises(Stopped):
        run(tree, made)
    shutil.rmtree(made.out)
    again = job(world / "parts")
    run(tree, again)
    assert [line for line in again.said if "continues" in line] == ["seed_1: continues at step 3"]
    assert "seed_2.train_loss" in again.track.seen
    parts, whole = ({p: p.read_bytes() for p in sorted(f.rglob("*.*"))} for f in (again.out, whole))
    assert list(parts.values()) == list(whole.values())


def test_more_seeds_than_there_are_above_the_first_are_refused():
    values = smoke().grader.model_dump() | {"seed": 2**32 - 2}
    assert Grader.model_validate(values | {"seeds": 2}).seeds == 2
    with pytest.raises(ValidationError, match="3 seeds from 4294967294 on end above 4294967295"):
        Grader.model_validate(values | {"seeds": 3})
