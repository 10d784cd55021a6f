"""Stage instruct: answers before and after, and what is learnt."""

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation.judging.answers import answers
from llmill.model import checkpoint
from llmill.model.cross_entropy import IGNORE
from llmill.model.settings import Adapter
from llmill.model.transformer import Transformer
from llmill.stages.instruct import (
    batches,
    exact_match,
    example,
    examples,
    figures_in_words,
    learnt_share,
    loss_over,
    n_cut,
    open_template,
    read,
    run,
)
from llmill.tasks.instruction import Instruction
from llmill.tasks.templates import ALPACA, CHATML, PLAIN
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.losses import token_loss
from llmill.training.settings import Interpolation
from tests.evaluation.toys import alpaca_prompt, bytes_tokenizer, decoder
from tests.stages.trainee import foundation, instructions, job, smoke

ADAPTER = Adapter(rank=4, alpha=8.0, rank_stabilised=False, targets="all", dropout=0.1)


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
    assert metrics["learnt_share"] == 192 / 486
    assert made.said[0] == (
        "12 instructions, 39.5% of their tokens learnt, 3 answered before training"
    )
    assert checkpoint.load(made.out / "checkpoint").template == PLAIN


def test_the_interpolated_weights_that_are_kept_are_said_in_one_line(world):
    made = job(world)
    between = Interpolation(shares=[0.5, 1.0], figure="validation_loss")
    run(smoke(instruct={"interpolate": between}), made)
    rows = record.read_json(made.out / "metrics.json")["interpolation"]
    best = min(rows, key=lambda row: row["validation_loss"])
    assert (
        "interpolation from the foundation's weights (0%) to the tuned weights (100%): "
        f"{best['share']:.0%} is kept, the best of 2 by validation loss on the validation split "
        f"(validation loss {best['validation_loss']:.3f})"
    ) in made.said


def test_an_adapter_is_learnt_on_the_foundation_and_answers_as_the_checkpoint_does(world):
    made = job(world)
    tree = smoke(instruct={"adapter": ADAPTER, "interpolate": None})
    run(tree, made)
    assert "an adapter of 1,792 parameters is learnt" in made.said
    config = record.read_json(made.out / "checkpoint/config.json")
    assert config["foundation"] == "../../results/pretrain/checkpoint"
    loaded = checkpoint.load_language_model(made.out / "checkpoint")
    assert loaded.adapter.settings == ADAPTER
    template = Template(loaded.template, loaded.tokenizer)
    tests = read(world / "data/prepare/instruction", "test")
    written = record.read_json(made.out / "answers/instruct.json")
    assert answers(loaded.model, template, tests, 8, lambda *_: None) == written
    held_out = examples(tree.instruct, world / "data/prepare/instruction", loaded, "validate")
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["validation_loss"] == loss_over(loaded.model, held_out)


def test_a_target_that_the_foundation_does_not_have_is_refused_before_an_answer(world):
    made = job(world)
    strange = ADAPTER.model_copy(update={"targets": ["gate"]})
    with pytest.raises(UserError, match=r"params.yaml: instruct.adapter.targets: gate names nothi"):
        run(smoke(instruct={"adapter": strange}), made)
    assert list(made.out.iterdir()) == []


def test_a_masked_foundation_is_refused_in_one_line_before_anything_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, causal=False)
    instructions(tmp_path)
    made = job(tmp_path)
    with pytest.raises(UserError, match="next token; train classifiers from it: `snakemake"):
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
    ids, targets = example(entry, Template(ALPACA, tokenizer), block=256, mask_prompt=True)
    learnt = [t for t in targets if t != IGNORE]
    assert learnt == [ord("o"), ord("o"), tokenizer.end_of_text]
    whole = [*alpaca_prompt("Say o."), ord("o"), ord("o")]
    assert ids == whole
    assert targets[: len(whole) - 3] == [IGNORE] * (len(whole) - 3)


def test_without_the_mask_the_prompt_is_learnt_too():
    ids, targets = example(
        Instruction("Say o.", "", "oo"), Template(ALPACA, bytes_tokenizer()), 256, mask_prompt=False
    )
    assert targets == [*ids[1:], 256]


def test_what_is_longer_than_the_model_reads_is_counted():
    template = Template(ALPACA, bytes_tokenizer())
    room = 257 - len(alpaca_prompt("Say o.")) - 1  # of the last token only the target is read
    entries = [Instruction("Say o.", "", "o" * n) for n in (1, room - 1, room, room + 1)]
    found = [example(entry, template, block=256, mask_prompt=True) for entry in entries]
    assert [len(ids) for ids, _ in found][1:] == [255, 256, 256]
    assert n_cut(entries, template, block=256) == 1


TURNS = Instruction(
    "D",
    "",
    "E",
    earlier=[{"role": "user", "content": "A"}, {"role": "assistant", "content": "BC"}],
)


def chatml() -> Tokenizer:
    special = {"<|im_start|>": 256, "<|im_end|>": 257}
    return Tokenizer({bytes([b]): b for b in range(256)}, special=special, end_name="<|im_end|>")


def test_of_two_turns_both_answers_are_learnt_with_their_ends_and_nothing_else():
    ids, targets = example(TURNS, Template(CHATML, chatml()), block=256, mask_prompt=True)
    user, assistant = [256, *b"user\n"], [256, *b"assistant\n"]
    assert ids == [
        *user, *b"A", 257, *b"\n", *assistant, *b"BC", 257, *b"\n",
        *user, *b"D", 257, *b"\n", *assistant, *b"E", 257,
    ]  # fmt: skip
    assert targets == [
        *[IGNORE] * 19, *b"BC", 257, IGNORE,
        *[IGNORE] * 20, *b"E", 257, IGNORE,
    ]  # fmt: skip


def test_the_template_that_came_with_the_weights_is_learnt_and_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "{% for m in messages %}> {{ m.content }}{{ eos_token }}{% endfor %}"
    saved = checkpoint.Checkpoint(
        decoder(block_size=256), bytes_tokenizer(), weights_template=source
    )
    checkpoint.save(tmp_path / "results/pretrain/checkpoint", saved)
    instructions(tmp_path)
    made = job(tmp_path)
    run(smoke(instruct={"template": "weights", "replay": None}), made)
    assert checkpoint.load(made.out / "checkpoint").template == source


def test_weights_without_a_template_are_one_line_before_anything_is_written(world):
    made = job(world)
    with pytest.raises(UserError, match="the foundation model has no chat template"):
        run(smoke(instruct={"template": "weights", "replay": None}), made)
    assert list(made.out.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}. {{ eos_token }}{% endfor %}",
        "{% generation %}{% endgeneration %}",
    ],
)
def test_a_template_whose_answers_would_not_end_is_refused(source):
    foundation = checkpoint.Checkpoint(decoder(), chatml(), weights_template=source)
    settings = smoke(instruct={"template": "weights"}).instruct
    with pytest.raises(
        UserError, match=r"instruct\.template weights ends an answer with no special"
    ):
        open_template(settings, foundation)


def test_an_answer_ends_by_the_templates_token_in_what_is_made_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    special = {"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258}
    tokenizer = Tokenizer({bytes([b]): b for b in range(256)}, special=special)
    model = Transformer(decoder(block_size=256).config, 259)
    saved = checkpoint.Checkpoint(model, tokenizer)
    checkpoint.save(tmp_path / "results/pretrain/checkpoint", saved)
    instructions(tmp_path)
    made = job(tmp_path)
    run(smoke(instruct={"template": "chatml", "replay": None}), made)
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.template == CHATML
    assert (loaded.tokenizer.end_of_text, loaded.tokenizer.ends) == (256, {256, 258})


def test_the_share_of_learnt_tokens_is_refused_at_zero():
    assert learnt_share([([1, 2], [IGNORE, 3]), ([4, 5], [5, 6])]) == 0.75
    with pytest.raises(UserError, match="of 1 instructions no token is learnt"):
        learnt_share([([1, 2], [IGNORE, IGNORE])])


def test_the_figures_of_kept_weights_are_said_in_words():
    row = {"share": 0.9, "validation_loss": 0.25, "exact_match": 0.712}
    assert figures_in_words(row) == "validation loss 0.250, exact match 71.2%"


def test_exact_match_is_the_share_of_answers_that_are_the_reference(monkeypatch):
    said = {"87": "87.", "Rain": "rain", "north": "south"}
    rows = [{"output": output, "answer": answer} for output, answer in said.items()]
    monkeypatch.setattr("llmill.stages.instruct.answered", lambda *_: rows)
    assert exact_match(decoder(), Template(PLAIN, bytes_tokenizer()), [], 8) == 2 / 3


def test_samples_are_answers_to_the_same_tasks_at_every_validation_and_change_nothing(world):
    plain, made = job(world / "plain"), job(world / "sampled")
    settings = smoke().instruct.training
    often = settings.model_copy(update={"epochs": 3.0, "log_every": 1, "validate_every": 2})
    run(smoke(instruct={"training": often}), plain)
    run(smoke(instruct={"training": often, "samples": 1}), made)
    samples = record.read_json(made.out / "samples.json")
    assert [(s["step"], s["instruction"], s["output"]) for s in samples] == [
        (2, "Say m.", "I say m and m."),
        (3, "Say m.", "I say m and m."),
    ]
    assert made.track.sent["samples"] == samples
    assert {"answer", "kind", "input"} < set(samples[0])
    for name in ("checkpoint/model.safetensors", "curves.csv", "metrics.json"):
        assert (plain.out / name).read_bytes() == (made.out / name).read_bytes()
    assert not (plain.out / "samples.json").exists()
    assert "samples" not in plain.track.sent


def test_packed_rows_hold_several_instructions_that_are_learnt_as_each_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, block_size=512)
    instructions(tmp_path)
    made = job(tmp_path)
    packs = {"template": "alpaca", "packing": "conversations", "neftune_alpha": 5.0}
    tree = smoke(instruct=packs)
    run(tree, made)
    metrics = record.read_json(made.out / "metrics.json")
    assert (metrics["train_instructions"], metrics["learnt_share"]) == (12, 180 / 2328)
    assert made.said[0] == (
        "12 instructions in 5 rows, 7.7% of their tokens learnt, 3 answered before training"
    )
    loaded = checkpoint.load_language_model(tmp_path / "results/pretrain/checkpoint")
    folder = tmp_path / "data/prepare/instruction"
    packed = batches(tree.instruct, folder, loaded)
    whole, alone = packed.get(0, packed.n), examples(tree.instruct, folder, loaded, "train")
    nats = token_loss(loaded.model, whole).item() / whole.weight
    assert nats == pytest.approx(loss_over(loaded.model, alone), abs=1e-5)


def test_pairs_of_instructions_are_learnt_as_conversations_of_two_turns(tmp_path, monkeypatch):
    """Both answers are learnt, and nothing else."""
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path, block_size=128)
    instructions(tmp_path)
    made, tree = job(tmp_path), smoke(instruct={"two_turns": 1.0})
    run(tree, made)
    metrics = record.read_json(made.out / "metrics.json")
    assert (metrics["train_instructions"], metrics["train_pairs"]) == (12, 6)
    assert made.said[0].startswith("12 instructions, 12 of them in conversations of two turns, ")
    loaded = checkpoint.load_language_model(tmp_path / "results/pretrain/checkpoint")
    folder = tmp_path / "data/prepare/instruction"
    learnt = examples(tree.instruct, folder, loaded, "train")
    tokenizer = loaded.tokenizer
    says = [
        tokenizer.decode([target for target in targets if target != IGNORE])
        for _, targets in learnt
    ]
    answered = [said.split("<|endoftext|>")[:-1] for said in says]
    assert sorted(map(len, answered)) == [2] * 6
    said = sorted(answer for each in answered for answer in each)
    assert said == [f" I say {c} and {c}." for c in "abcdefghijkl"]
    assert len(examples(tree.instruct, folder, loaded, "validate")) == 2
