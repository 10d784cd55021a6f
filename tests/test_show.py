"""`show-batch`: what it prints is what the loop would train on, and a mistake is one line."""

import io
import re
import shutil
import sys
from itertools import takewhile

import pytest
import torch
from rich.console import Console

from llmill import __main__
from llmill.contract import skipped
from llmill.contract.errors import UserError
from llmill.runner import params
from llmill.show import print_batch
from llmill.stages import instruct, prefer, pretrain
from llmill.tasks import instruction
from llmill.tasks.conversation import message
from llmill.tasks.instruction import Instruction
from llmill.training.prefetch import Feed
from tests.conftest import ROOT, preset_text
from tests.stages import trainee


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A repository with everything that the training stages read, and contexts that fit it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    text = preset_text("smoke").replace("template: plain", "template: alpaca")
    (tmp_path / "params.yaml").write_text(text.replace("block_size: 256", "block_size: 128"))
    trainee.tokens(tmp_path)
    trainee.foundation(tmp_path, block_size=256)
    trainee.messages(tmp_path)
    trainee.documents(tmp_path)
    trainee.instructions(tmp_path)
    trainee.assistant(tmp_path)
    trainee.preferences(tmp_path)
    return tmp_path


def change(world, before: str, after: str) -> None:
    file = world / "params.yaml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


def printed(*arguments, width: int = 80, terminal: bool = False, **options) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=terminal, color_system=None)
    print_batch(*arguments, **options, console=console)
    return text.getvalue().splitlines()


def test_windows_show_the_documents_they_cross_and_their_whole_text(world):
    lines = printed("pretrain", 0, rows=1)
    assert lines[0] == (
        "pretrain, step 0 of 12: 4 rows, 512 positions, 0.0% padding, 512 targets learnt"
    )
    assert lines[1] == "row 0: 129 tokens, 128 learnt, 0 padding"
    found = [re.fullmatch(r"  document (\d+), tokens (\d+) to (\d+) of (\d+), at position (\d+)", line) for line in lines[2:-2]]  # fmt: skip
    numbers, firsts, lasts, sizes, places = zip(*(map(int, m.groups()) for m in found), strict=True)
    assert list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    for n, size in zip(numbers, sizes, strict=True):
        assert size == len(f"{n} and {n + 1} make {2 * n + 1}.") + 1
    assert places[0] == 0
    assert list(places[1:]) == [p + b - a + 1 for p, a, b in zip(places, firsts, lasts, strict=True)][:-1]  # fmt: skip
    text = "".join(f"{n} and {n + 1} make {2 * n + 1}.<|endoftext|>" for n in numbers)
    assert lines[-2].removeprefix("  ") in text
    assert lines[-1] == "3 more rows"


def test_short_rows_show_the_parts_of_a_row_that_are_learnt_each_alone(world):
    whole = printed("pretrain", 0)
    change(world, "shorten_rows: [1]", "shorten_rows: [4, 2]")
    short = printed("pretrain", 0)
    assert short[0] == (
        "pretrain, step 0 of 12: 16 rows, 512 positions, 0.0% padding, 512 targets learnt"
    )
    assert short[1] == "row 0: 33 tokens, 32 learnt, 0 padding"
    assert printed("pretrain", 6)[0].startswith("pretrain, step 6 of 12: 8 rows, 512 positions")
    texts = [line for line in short if re.match("  (?!document)", line)]
    (first, *_) = (line for line in whole if re.match("  (?!document)", line))
    assert len(texts) == 16
    # The last token of a part is the first of the next one; every token here is one character.
    joined = texts[0] + "".join(cut(text) for text in texts[1:4])
    assert joined == first


def cut(text: str) -> str:
    """A text without its indentation and its first token."""
    return re.sub(r"^  (<\|endoftext\|>|.)", "", text)


def test_packed_rows_show_whole_documents_and_what_is_not_learnt(world):
    change(world, "packing: windows", "packing: documents")
    change(world, "mask_documents: false", "mask_documents: true")
    lines = printed("pretrain", 0)
    rows = "\n".join(lines[1:]).split("row ")[1:]
    assert len(rows) == 4
    for row in rows:
        what, *where, text = row.splitlines()
        held, learnt, _ = map(int, re.findall(r"(\d+) (?:tokens|learnt|padding)", what))
        sizes = [int(re.fullmatch(r"  document \d+, tokens 0 to (\d+) of \d+, at position \d+", line)[1]) + 1 for line in where]  # fmt: skip
        assert held == sum(sizes)
        assert learnt == held - len(sizes)
        numbers = [int(re.search(r"document (\d+)", line)[1]) for line in where]
        assert text == "  " + "".join(f"{n} and {n + 1} make {2 * n + 1}.<|endoftext|>" for n in numbers)  # fmt: skip


def masked(world) -> None:
    change(world, "causal: true", "causal: false")
    change(world, "objective: next_token", "objective: masked")
    change(world, 'prompts: ["The capital of", "Question: What is", "Gold is"]', "prompts: []")


@pytest.mark.parametrize(("packing", "times"), [("windows", 1), ("documents", 1), ("windows", 4)])
def test_masked_rows_show_what_is_read_and_what_is_learnt_there(world, packing, times):
    masked(world)
    change(world, "packing: windows", f"packing: {packing}")
    change(world, "shorten_rows: [1]", f"shorten_rows: [{times}]")
    lines = printed("pretrain", 0)
    rows = "\n".join(lines[1:]).split("row ")[1:]
    assert len(rows) == 4 * times
    total = 0
    for row in rows:
        what, *where, text = row.splitlines()
        held, learnt, padding = map(int, re.findall(r"(\d+) (?:tokens|learnt|padding)", what))
        assert held + padding == 128 // times
        numbers = [int(re.search(r"document (\d+)", line)[1]) for line in where]
        gaps = re.findall(r"\[(MASK|[^\[\]]+?):([^\[\]])\]", text)
        assert len(gaps) == learnt > (10 if times == 1 else 0)
        assert times > 1 or sum(seen == "MASK" for seen, _ in gaps) > learnt / 2
        whole = "".join(f"{n} and {n + 1} make {2 * n + 1}.<|endoftext|>" for n in numbers)
        assert re.sub(r"\[(?:MASK|[^\[\]]+?):([^\[\]])\]", r"\1", text).removeprefix("  ") in whole
        total += learnt
    assert lines[0].endswith(f"padding, {total} targets learnt")


def test_every_answer_of_a_conversation_stands_in_brackets(world):
    turns = Instruction("C", "", "D", earlier=[message("user", "A"), message("assistant", "B")])
    instruction.write(world / "data/prepare/instruction/train.jsonl", [turns])
    change(world, "template: alpaca", "template: chatml")
    assert printed("instruct", 0, rows=1)[1:3] == [
        "row 0: 88 tokens, 4 learnt, 1 padding",
        "  <|im_start|>user\\nA<|endoftext|>\\n<|im_start|>assistant\\n[B<|endoftext|>]\\n"
        "<|im_start|>user\\nC<|endoftext|>\\n<|im_start|>assistant\\n[D<|endoftext|>]",
    ]


@pytest.mark.parametrize("stage", ["instruct", "grader"])
def test_what_needs_a_next_token_has_no_batches_from_a_masked_foundation(world, stage):
    shutil.rmtree(world / "results/pretrain")
    trainee.foundation(world, block_size=256, causal=False)
    with pytest.raises(UserError, match="next token; train classifiers from it: `snakemake"):
        printed(stage, 0)
    assert printed("classify", 0)


def test_the_learnt_part_of_an_instruction_stands_in_brackets_with_newlines_escaped(world):
    lines = printed("instruct", 0)
    assert lines[0].startswith("instruct, step 0 of 1: 16 rows, ")
    task = list(takewhile(lambda line: not line.startswith("replayed"), lines))
    shown = [line for line in task if not line.startswith(("row", "instruct"))]
    assert len(shown) == 16
    assert any(
        line.endswith("\\n\\n### Response:\\n[I say a and a.<|endoftext|>]") for line in shown
    )
    assert all(line.startswith("  <|endoftext|>Below is an instruction") for line in shown)
    assert all(" 15 learnt, " in line for line in lines if line.startswith("row"))


def test_packed_conversations_stand_on_a_line_each(world):
    shutil.rmtree(world / "results/pretrain")
    trainee.foundation(world, block_size=512)
    change(world, "packing: none", "packing: conversations")
    lines = printed("instruct", 0, rows=2)
    assert lines[0].startswith("instruct, step 0 of 1: 16 rows, ")
    assert lines[1] == "row 0: 3 conversations, 483 tokens, 45 learnt, 0 padding"
    assert all(line.startswith("  <|endoftext|>Below is an inst") for line in lines[2:5])
    assert all(line.endswith("<|endoftext|>]") for line in lines[2:5])
    assert lines[5].startswith("row 1: ")


def test_a_message_is_shown_with_its_label(world):
    lines = printed("classify", 1, variant="all")
    assert lines[0].startswith("classify, step 1 of 3: 32 rows, ")
    for what, text in zip(lines[1::2], lines[2::2], strict=True):
        ham = text.endswith("o")
        assert what.endswith("learnt [ham]" if ham else "learnt [spam]")
        tokens = int(re.match(r"row \d+: (\d+) tokens", what)[1])
        assert tokens == len(text.removeprefix("  <|endoftext|>")) + 1


def test_a_label_is_shown_without_its_control_characters(world):
    for file in (world / "data/prepare/classification").iterdir():
        file.write_text(file.read_text().replace('"ham"', '"ham\\u001b[31m"'))
    lines = printed("classify", 1)
    assert "\x1b" not in "".join(lines)
    assert any(line.endswith(r"learnt [ham\x1b[31m]") for line in lines)


def test_without_a_variant_the_batches_are_those_of_every_variant(world):
    assert printed("classify", 0) == printed("classify", 0, variant="last_block")


def test_a_graded_response_is_shown_with_its_score(world):
    lines = printed("grader", 0)
    assert "learnt [1.00]" in "\n".join(lines)
    shown = "Answer:<|endoftext|> I say c and c.<|endoftext|> I say c and c.<|endoftext|>"
    assert any(shown in line for line in lines)


def test_the_text_that_a_step_replays_stands_below_the_rows_of_the_task(world):
    lines = printed("instruct", 0)
    assert lines[0].endswith(" targets learnt, 1 rows of text replayed")
    first = next(n for n, line in enumerate(lines) if line.startswith("replayed row "))
    assert all(not line.startswith("row ") for line in lines[first:])
    assert lines[first] == "replayed row 0: 257 tokens, 256 learnt, 0 padding"
    assert re.fullmatch(
        r"  document \d+, tokens \d+ to \d+ of \d+, at position 0", lines[first + 1]
    )
    assert " make " in lines[-1]
    assert "replayed" not in "".join(printed("prefer", 0))  # its share is a half: the second step
    assert "replayed row 0: 257 tokens" in "".join(printed("prefer", 1))
    change(world, "replay: {share: 1.0, windows: 1, mask_documents: false}", "replay: null")
    assert printed("instruct", 0)[1:] == lines[1:first]


def test_of_a_pair_the_chosen_answer_stands_above_the_rejected_one(world):
    lines = printed("prefer", 0, rows=2)
    assert lines[0].startswith("prefer, step 0 of 12: 16 rows, ")
    letter = lines[2][-len("x<|endoftext|>]")]
    assert lines[1].startswith("row 0: chosen, ") and ", 3 learnt" in lines[1]
    assert lines[2].endswith(f"Say {letter}.\\n\\n### Response:\\n[{letter * 2}<|endoftext|>]")
    assert lines[3].startswith("row 1: rejected, ") and ", 3 learnt" in lines[3]
    assert lines[4].endswith(f"Say {letter}.\\n\\n### Response:\\n[no<|endoftext|>]")
    assert lines[5] == "14 more rows"


def test_micro_batches_of_a_step_are_all_shown(world):
    change(
        world, "batch_size: 4\n    grad_accum_steps: 1", "batch_size: 2\n    grad_accum_steps: 2"
    )
    halves = printed("pretrain", 3)
    change(
        world, "batch_size: 2\n    grad_accum_steps: 2", "batch_size: 4\n    grad_accum_steps: 1"
    )
    assert printed("pretrain", 3) == halves
    assert sum(line.startswith("row ") for line in halves) == 4


@pytest.mark.parametrize(
    ("stage", "prepare"),
    [(pretrain, None), (pretrain, masked), (instruct, None), (prefer, None)],
)
def test_what_is_shown_is_what_the_stage_trains_on(world, monkeypatch, stage, prepare):
    if prepare:
        prepare(world)
    seen = []
    deal = Feed.steps

    def spy(self, first, end):
        for made in deal(self, first, end):
            seen.append(made)
            yield made

    monkeypatch.setattr(Feed, "steps", spy)
    printed(stage.__name__.rsplit(".", 1)[1], 0)
    stage.run(params.load(), trainee.job(world))
    shown, trained, *_ = seen
    assert len(shown) == len(trained) == 1
    for one, other in zip(shown, trained, strict=True):
        for a, b in zip(one.inputs, other.inputs, strict=True):
            assert torch.equal(a, b) or a.is_floating_point()  # what the reference said
        assert torch.equal(one.targets, other.targets)


def test_a_terminal_gets_one_line_of_its_width_and_a_pipe_the_whole(world):
    cut = printed("instruct", 0, width=60, terminal=True)
    whole = printed("instruct", 0, width=60)
    assert len(cut) == len(whole)
    assert max(map(len, cut)) == 60
    assert cut[2].endswith("…")
    assert len(whole[2]) > 150


MISTAKES = [
    (["pretrain", "12"], "pretrain: no step 12; the run has steps 0 to 11"),
    (["report", "0"], "report: no training of this name; there is pretrain, classify, instruct, prefer, grader"),
    (["classify", "0", "--variant", "none"], "classify@none: no such stage in dvc.yaml; there is classify@last_layer, classify@last_block, "
        "classify@last_two_blocks, classify@lora, classify@all, classify@all_from_random"),
    (["instruct", "0", "--variant", "all"], "instruct@all: no such stage in dvc.yaml; there is instruct"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_one_line(world, monkeypatch, words, line):
    monkeypatch.setattr(sys, "argv", ["llmill", "show-batch", *words])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == f"llmill: {line}"


def test_a_stage_without_data_says_why(world):
    skipped.write(world / "data/prepare/classification", "download.classification is null")
    reason = "^classify: the stage was skipped: download.classification is null$"
    with pytest.raises(UserError, match=reason):
        print_batch("classify@all", 0)


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("pretrain", "data/tokenize/train/index.json"),
        ("pretrain", "data/tokenizer/bpe/tokenizer.json"),
        ("classify", "data/prepare/classification/train.jsonl"),
        ("instruct", "results/pretrain/checkpoint/config.json"),
        ("prefer", "data/prepare/preference/train.jsonl"),
        ("grader", "data/prepare/text/train/00000.parquet"),
    ],
)
def test_a_missing_input_is_named_in_one_line(world, stage, missing):
    (world / missing).unlink()
    with pytest.raises(UserError, match=missing.rsplit("/", 1)[0]) as error:
        print_batch(stage, 0)
    assert "\n" not in str(error.value)
