"""Stage prefer: what is learnt of a pair, what is measured, and that the reference stays itself."""

import csv
import io
import shutil
from dataclasses import replace

import pytest
import torch

from llmill.contract import record
from llmill.contract.errors import Stopped, UserError
from llmill.contract.hardware import Runtime
from llmill.evaluation.judging.answers import answers
from llmill.model import checkpoint
from llmill.model.cross_entropy import IGNORE
from llmill.model.settings import Adapter
from llmill.model.transformer import Transformer
from llmill.stages import instruct, prefer
from llmill.stages.prefer import answered, batches, chosen_fell, held_out, pairs, pairs_read, run
from llmill.tasks import instruction, preference
from llmill.tasks.conversation import message
from llmill.tasks.instruction import Instruction
from llmill.tasks.preference import Preference
from llmill.tasks.templates import ALPACA, CHATML
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import preference as preference_loss
from llmill.training.preference import Measured, Pair
from tests.evaluation.toys import alpaca_prompt, bytes_tokenizer
from tests.stages.counting import counting, counts
from tests.stages.trainee import (
    assistant,
    foundation,
    instructions,
    job,
    preferences,
    smoke,
    tokens,
)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assistant(tmp_path)
    instructions(tmp_path)
    preferences(tmp_path)
    tokens(tmp_path)
    return tmp_path


ADAPTER = Adapter(rank=2, alpha=4.0, rank_stabilised=False, targets="all", dropout=0.1)


@pytest.fixture
def begun_from_an_adapter(world):
    """The assistant is an adapter itself, on the foundation."""
    shutil.rmtree(world / "results/instruct")
    foundation(world, block_size=256)
    begun = job(world / "begun")
    begun.out = world / "results/instruct"
    begun.out.mkdir()
    instruct.run(smoke(instruct={"adapter": ADAPTER, "interpolate": None}), begun)
    return world


def longer(steps: int = 60, lr: float = 0.003, chosen_weight: float = 0.0):
    """The smoke preset with enough steps to learn what the pairs have in common, by DPO alone."""
    prefer = smoke().prefer
    optimizer = prefer.training.optimizer.model_copy(update={"lr": lr})
    training = prefer.training.model_copy(
        update={"max_steps": steps, "optimizer": optimizer, "validate_every": 20, "log_every": 20}
    )
    return smoke(prefer={"training": training, "chosen_weight": chosen_weight})


def curve(made) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO((made.out / "curves.csv").read_text()))
    return [{k: float(v) for k, v in row.items() if v} for row in rows]


def test_it_learns_which_answer_is_chosen_and_answers_the_test_instructions(world):
    made = job(world)
    run(longer(), made)
    metrics = record.read_json(made.out / "metrics.json")
    assert (metrics["accuracy"]["value"], metrics["accuracy"]["n"]) == (1.0, 3)
    assert metrics["beside"]["longer_answer"]["value"] == 0.5  # of one length: they tell nothing
    assert metrics["beside"]["likelihood_after"]["value"] == 1.0
    assert metrics["beside"]["likelihood_before"]["value"] < 1.0
    assert (metrics["train_pairs"], metrics["validate_pairs"], metrics["test_pairs"]) == (12, 2, 3)
    assert metrics["steps"] == 60
    answers = record.read_json(made.out / "answers/prefer.json")
    assert [answer["instruction"] for answer in answers] == ["Say o.", "Say p.", "Say q."]
    tuned = checkpoint.load(made.out / "checkpoint")
    before = world / "results/instruct/checkpoint"
    assert (tuned.template, tuned.made_by) == (ALPACA, "toy")
    assert tuned.begun_from == checkpoint.weights_hash(before)
    assert checkpoint.weights_hash(made.out / "checkpoint") != tuned.begun_from


def test_the_curve_begins_at_the_reference_and_follows_margin_likelihood_and_divergence(world):
    made = job(world)
    run(longer(), made)
    first, *rows = curve(made)
    assert (first["step"], first["margin"], first["kl"]) == (0, 0.0, 0.0)
    assert first["validation_loss"] == pytest.approx(0.693147, abs=1e-6)
    assert first["validation_accuracy"] == 0.5  # no margin prefers nothing
    assert [row["step"] for row in rows] == [20, 40, 60]
    last = rows[-1]
    assert last["margin"] > 0.1 and last["kl"] > 0 and last["validation_accuracy"] == 1.0
    gained = last["chosen_log_probability"] - first["chosen_log_probability"]
    lost = last["rejected_log_probability"] - first["rejected_log_probability"]
    assert last["replay_loss"] > 0
    assert 0.1 * (gained - lost) == pytest.approx(last["margin"], rel=1e-3)
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["kl"] == pytest.approx(last["kl"], rel=1e-5)


def test_the_pairs_that_the_reference_reads_are_counted(world, monkeypatch, capsys):
    monkeypatch.setattr(preference_loss, "AT_ONCE", 5)
    run(longer(20), counting(job(world), monkeypatch))
    found = counts(capsys.readouterr().out, "pairs read by the reference")
    assert found == [(5, 12), (10, 12), (12, 12), (2, 2), (3, 3)]


def test_figures_are_measured_in_float32_whatever_the_training_rounds_to(world, monkeypatch):
    """In bfloat16, rounding alone would move a model away from its reference."""
    seen = []
    of_pairs = preference_loss.log_probabilities

    def noted(model, batch):
        seen.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        return of_pairs(model, batch)

    monkeypatch.setattr(preference_loss, "log_probabilities", noted)
    tree = longer(1, lr=1e-9)
    made = job(world)
    run(tree.model_copy(update={"runtime": Runtime(device="cpu", dtype="bfloat16")}), made)
    assert set(seen) == {(False, True), (True, True), (False, False)}
    assert (
        seen.count((False, True)) == 1
    )  # the reference of the training pairs, as it is trained on
    assert curve(made)[-1]["kl"] == pytest.approx(0, abs=1e-7)


def test_the_chosen_answers_own_loss_makes_them_likelier_than_preferences_alone(world):
    likely = []
    for weight in (0.0, 1.0):
        (world / str(weight)).mkdir()
        made = job(world / str(weight))
        run(longer(20, chosen_weight=weight), made)
        likely.append(curve(made)[-1]["chosen_log_probability"])
    assert likely[1] > likely[0] + 1


def test_an_assistant_that_is_an_adapter_is_tuned_and_stored_whole(begun_from_an_adapter):
    made = job(begun_from_an_adapter)
    run(smoke(), made)
    tuned = checkpoint.load(made.out / "checkpoint")
    assert tuned.adapter is None
    before = begun_from_an_adapter / "results/instruct/checkpoint"
    assert tuned.begun_from == checkpoint.weights_hash(before)


def test_an_adapter_is_learnt_upon_the_assistant_and_the_reference_is_it_without(world):
    made = job(world)
    tree = longer(steps=20, lr=0.03)
    adapted = tree.prefer.model_copy(update={"adapter": ADAPTER})
    run(tree.model_copy(update={"prefer": adapted}), made)
    assert "an adapter of 896 parameters is learnt" in made.said
    first, *_, last = curve(made)
    assert (first["margin"], first["kl"]) == (0.0, 0.0)
    assert last["margin"] > 0.1 and last["kl"] > 0
    assert record.read_json(made.out / "metrics.json")["accuracy"]["value"] == 1.0
    config = record.read_json(made.out / "checkpoint/config.json")
    assert config["foundation"] == "../../results/instruct/checkpoint"
    tuned = checkpoint.load_language_model(made.out / "checkpoint")
    assert tuned.adapter.settings == ADAPTER
    tests = instruct.read(world / "data/prepare/instruction", "test")
    template = Template(tuned.template, tuned.tokenizer)
    written = record.read_json(made.out / "answers/prefer.json")
    assert answers(tuned.model, template, tests, 8, lambda *_: None) == written


def test_an_adapter_upon_an_adapter_is_read_merged_and_apart_and_of_no_other(begun_from_an_adapter):
    world = begun_from_an_adapter
    made = job(world)
    run(smoke(prefer={"adapter": ADAPTER}), made)
    before, tuned = world / "results/instruct/checkpoint", made.out / "checkpoint"
    merged, apart = checkpoint.load(tuned), checkpoint.load(tuned, shared={})
    assert merged.begun_from == checkpoint.weights_hash(before)
    idx = torch.tensor([[*b"Say o."]])
    assert not torch.equal(merged.model(idx), checkpoint.load(before).model(idx))
    torch.testing.assert_close(apart.model(idx), merged.model(idx), rtol=0, atol=1e-5)
    shutil.rmtree(before)
    assistant(world)
    with pytest.raises(UserError, match=r"checkpoint: an adapter of another foundation: learnt on"):
        checkpoint.load(tuned)


def test_a_target_that_the_assistant_does_not_have_is_refused_before_anything_is_written(world):
    made = job(world)
    strange = ADAPTER.model_copy(update={"targets": ["gate"]})
    with pytest.raises(UserError) as refused:
        run(smoke(prefer={"adapter": strange}), made)
    assert str(refused.value) == (
        "params.yaml: prefer.adapter.targets: gate names nothing in this model; it has query, key, "
        "value, out, up, down, or all of them"
    )
    assert list(made.out.iterdir()) == []


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["whole", "adapter"])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(world, adapter):
    tree, whole = smoke(prefer={"adapter": adapter}), job(world)
    run(tree, whole)
    (world / "again").mkdir()
    stopped = job(world / "again")
    stopped.root = whole.root
    said, stopped.say = stopped.say, lambda text: _stop_at_step_4(text, stopped)
    with pytest.raises(Stopped):
        run(tree, stopped)
    stopped.say, stopped.stop.signum = said, None
    (stopped.out / "again").mkdir()
    stopped.out = stopped.out / "again"
    run(tree, stopped)
    for file in ("curves.csv", "metrics.json", "checkpoint/model.safetensors"):
        assert record.sha256_file(stopped.out / file) == record.sha256_file(whole.out / file)


def _stop_at_step_4(text, made) -> None:
    if text.startswith("step 4/"):
        made.stop.signum = 15


def test_only_the_last_answer_counts_with_its_end_and_the_same_prompt_stands_before_both():
    asked = [message("user", "A"), message("assistant", "BC"), message("user", "D")]
    special = {"<|im_start|>": 256, "<|im_end|>": 257}
    ends = Tokenizer({bytes([b]): b for b in range(256)}, special=special, end_name="<|im_end|>")
    ids, learnt = answered(asked, "EF", Template(CHATML, ends))
    assert [token for token, is_learnt in zip(ids, learnt, strict=True) if is_learnt] == [
        *b"EF",
        257,
    ]
    entry = Preference([message("user", "Say o.")], "oo", "no")
    (pair,) = pairs([entry], Template(ALPACA, bytes_tokenizer()), 256, None)
    prompt = alpaca_prompt("Say o.")
    assert pair.chosen == ([*prompt, *b"oo"], [IGNORE] * (len(prompt) - 1) + [*b"oo", 256])
    assert pair.rejected == ([*prompt, *b"no"], [IGNORE] * (len(prompt) - 1) + [*b"no", 256])


def rewrite(world, split: str, entries: list[Preference]) -> None:
    preference.write(world / f"data/prepare/preference/{split}.jsonl", entries)


def test_dropout_is_off_as_it_is_in_the_reference(world):
    loaded = checkpoint.load(world / "results/instruct/checkpoint")
    shape = loaded.model.config.model_copy(update={"dropout": 0.5})
    model = Transformer(shape, loaded.model.vocab_size)
    model.load_state_dict(loaded.model.state_dict())
    shutil.rmtree(world / "results/instruct/checkpoint")
    checkpoint.save(world / "results/instruct/checkpoint", replace(loaded, model=model))
    made = job(world)
    run(longer(1, lr=1e-9), made)
    assert "dropout is off: the reference has none, and margins compare the two" in made.said
    assert curve(made)[-1]["train_loss"] == pytest.approx(
        0.693147, abs=1e-4
    )  # with dropout 0.6 to 0.8
    assert checkpoint.load(made.out / "checkpoint").model.config.dropout == 0.5


def test_prompts_that_are_cut_before_they_are_answered_are_counted_and_said(world):
    foundation(world, block_size=256)
    file = world / "data/prepare/instruction/test.jsonl"
    instruction.write(file, [Instruction("Say o. " * 60, "", "o"), Instruction("Say p.", "", "p")])
    for stage, counted in ((instruct, job(world)), (prefer, job(world / "results"))):
        tree = longer(1) if stage is prefer else smoke()
        stage.run(tree, counted)
        assert record.read_json(counted.out / "metrics.json")["test_prompts_cut"] == 1
        assert "1 test prompts are longer than 248 tokens: only their end is read" in counted.said


def test_a_pair_longer_than_the_context_is_left_out_and_counted(world):
    fits = Preference([message("user", "Say a.")], "aa", "no")
    long = Preference([message("user", "Say a.")], "aa", "n" * 256)
    rewrite(world, "train", [fits] * 4 + [long])
    made = job(world)
    run(smoke(), made)
    metrics = record.read_json(made.out / "metrics.json")
    assert (metrics["train_pairs"], metrics["pairs_too_long"]) == (4, 1)
    assert made.said[0] == (
        "4 pairs to train on; 1 left out that are longer than the 256 tokens that the assistant reads"
    )


def test_no_pair_that_fits_is_one_line_before_anything_is_written(world):
    rewrite(world, "validate", [Preference([message("user", "x" * 300)], "a", "b")] * 2)
    made = job(world)
    with pytest.raises(UserError, match=r"validate\.jsonl: of 2 pairs none fits into the 256 tok"):
        run(smoke(), made)
    assert list(made.out.iterdir()) == []


def test_answers_as_long_as_the_context_are_refused_before_the_first(world):
    made = job(world)
    with pytest.raises(UserError, match=r"prefer\.max_new_tokens 256 leaves no room .* in the 256"):
        run(smoke(prefer={"max_new_tokens": 256}), made)
    assert list(made.out.iterdir()) == []


def found(chosen, rejected, margin) -> Measured:
    return Measured(*map(torch.tensor, (chosen, rejected, margin, [0.0] * len(margin))))


def test_what_is_held_out_is_told_by_reward_and_by_likelihood_and_by_length():
    tests = [Pair(answer(2, to), answer(n, to)) for to, n in enumerate((1, 4, 2))]
    before = found([-6.0, -4.0, -3.0], [-2.0, -6.0, -1.0], [0.0, 0.0, 0.0])
    after = found([-2.0, -6.0, -3.0], [-4.0, -4.0, -3.0], [1.0, -1.0, 2.0])
    figures = held_out(before, after, tests)
    assert figures["accuracy"]["value"] == pytest.approx(2 / 3)
    assert figures["margin"] == pytest.approx(2 / 3)
    assert figures["chosen_log_probability"] == {
        "before": pytest.approx(-13 / 3),
        "after": pytest.approx(-11 / 3),
    }
    assert {name: 6 * share["value"] for name, share in figures["beside"].items()} == {
        "longer_answer": pytest.approx(3),  # right, wrong, and of one length: half
        "shorter_answer": pytest.approx(3),
        "likelihood_before": pytest.approx(2),
        "likelihood_per_token_before": pytest.approx(0),
        "likelihood_after": pytest.approx(3),
        "likelihood_per_token_after": pytest.approx(3),
    }


def answer(n: int, to: int) -> tuple[list[int], list[int]]:
    """A prompt of one token, `to`, and an answer of n tokens."""
    return [to, *[0] * (n - 1)], [1] * n


def test_pairs_of_one_prompt_count_together():
    """Four pairs of each of ten prompts, five of which are right, say no more than one of each."""
    tests = [Pair(answer(2, to), answer(4, to)) for to in range(10) for _ in range(4)]
    right = [*[1.0] * 4, *[-1.0] * 4] * 5
    together = held_out(*[found([0.0] * 40, [0.0] * 40, right)] * 2, tests)["accuracy"]
    ten = held_out(*[found([0.0] * 10, [0.0] * 10, right[::4])] * 2, tests[::4])["accuracy"]
    assert together["value"] == ten["value"] == 0.5
    assert (together["low"], ten["low"]) == (
        pytest.approx(0.199, abs=1e-3),
        pytest.approx(0.237, abs=1e-3),
    )


@pytest.mark.parametrize(("steps", "read"), [(1, 4), (2, 8), (3, 10), (9, 10)])
def test_the_reference_is_asked_of_the_pairs_that_the_run_reads(steps, read):
    """Of ten pairs, four a step; those of the first steps, in whichever order they come."""
    text = ([0] * 2, [IGNORE, 1])
    train = [Pair(text, text) for _ in range(10)]
    settings = smoke().prefer
    training = settings.training.model_copy(update={"max_steps": steps, "batch_size": 4})
    settings = settings.model_copy(update={"training": training})
    order = batches(settings, train).order
    assert pairs_read(settings, train) == sorted(set(order.items(0, 4 * steps)))
    assert len(pairs_read(settings, train)) == read


@pytest.mark.parametrize(
    ("likely", "step"), [([-3.0, -2.0, -4.0, -5.0], 40), ([-3.0, -2.0, -1.0, -1.0], None)]
)
def test_the_step_is_told_from_which_the_chosen_answer_is_less_likely(likely, step):
    rows = [{"step": 20 * n, "chosen_log_probability": x} for n, x in enumerate(likely)]
    assert chosen_fell([*rows[:2], {"step": 30}, *rows[2:]]) == step
