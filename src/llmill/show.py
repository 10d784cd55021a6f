"""`python -m llmill show-batch STAGE STEP`: print the batch of a step as the training reads it.

The stage's own functions build the batches, and the loop's own feed deals them out. Texts are
decoded from the tensors that the model gets. Nothing is trained.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from llmill.contract import pipeline, printable
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE
from llmill.contract.pipeline import Stage
from llmill.model import checkpoint, initial, vocabulary
from llmill.model.cross_entropy import IGNORE
from llmill.model.transformer import Transformer
from llmill.runner import params, skipping
from llmill.runner.tree import Params
from llmill.stages import classify, grader, instruct, prefer, pretrain
from llmill.tasks import preference
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import replay, settings
from llmill.training.batches import NOWHERE, Batch, Batches, Rows, Span
from llmill.training.loop import length
from llmill.training.masking import Masked
from llmill.training.prefetch import Feed
from llmill.training.settings import Training

LEARNT = "bold green"  # in a terminal, besides the brackets
MASK = "MASK"  # in place of a hidden token

Lines = list[Text]  # on one row: what it is, then what it holds
Folder = Callable[[str], Path]  # of a stage's result, by its name
Show = Callable[[Batch, int], Iterator[Lines]]  # of a micro-batch; its first row's place in the run


@dataclass(frozen=True)
class StageBatches:
    """The batches of a stage, and how their rows are shown."""

    batches: Batches
    settings: Training
    show: Show
    replayed: Callable[[int], Iterator[Lines]] | None = None  # the text replayed at a step


def print_batch(
    stage: str,
    step: int,
    variant: str | None = None,
    rows: int | None = None,
    console: Console | None = None,
) -> None:
    """Print the rows of a step, counted from 0, all or the first `rows`: one line each in a
    terminal, uncut in a pipe.

    Raises `UserError` for a stage without batches, a step beyond the run, or inputs not made yet.
    """
    stage, _, named = stage.partition("@")  # also as `plan` and `verify` name a variant
    if named and variant not in (None, named):
        raise UserError(f"{stage}@{named} and --variant {variant}: name one variant")
    variant = variant or named or None
    tree = params.load()
    stages = params.stages(tree)
    _refuse_other(stage, variant, stages)
    source = OPEN[stage](tree, partial(pipeline.folder, stages))
    settings, end = source.settings, length(source.settings, source.batches.n)
    if not 0 <= step < end:
        raise UserError(f"{stage}: no step {step}; the run has steps 0 to {end - 1}")
    size, micro = settings.batch_size, settings.grad_accum_steps
    feed = Feed(source.batches, size, micro, torch.device("cpu"))
    step_batches = next(feed.steps(step, step + 1))
    of_task: list[Lines] = []
    for i, batch in enumerate(step_batches):
        of_task += source.show(batch, (step * micro + i) * size)
    rows_shown = [(f"row {number}", *lines) for number, lines in enumerate(of_task)]
    of_text = list(source.replayed(step)) if source.replayed else []
    rows_shown += [(f"replayed row {number}", *lines) for number, lines in enumerate(of_text)]
    besides = f", {len(of_text)} rows of text replayed" if of_text else ""
    lines = [Text(f"{stage}, step {step} of {end}: {summary(step_batches)}{besides}")]
    for name, what, *details in rows_shown[:rows]:
        lines += [Text(f"{name}: ") + what, *(Text("  ") + line for line in details)]
    if left := len(rows_shown) - len(rows_shown[:rows]):
        lines.append(Text(f"{left} more rows"))
    console = console or Console()
    cut = {"no_wrap": True, "overflow": "ellipsis"} if console.is_terminal else {"soft_wrap": True}
    for line in lines:
        console.print(line, **cut)


def _refuse_other(stage: str, variant: str | None, stages: dict[str, Stage]) -> None:
    """Raise `UserError` for a stage that trains nothing, a variant that does not exist, or a stage
    without data.
    """
    if stage not in OPEN:
        raise UserError(f"{stage}: no training of this name; there is {', '.join(OPEN)}")
    of_name = [s for s in stages.values() if s.name == stage]
    meant = [s for s in of_name if variant in (None, s.variant)]
    if not meant:
        addresses = ", ".join(s.address for s in of_name)
        raise UserError(f"{stage}@{variant}: no such stage in dvc.yaml; there is {addresses}")
    if why := skipping.reason(meant[0]):
        raise UserError(f"{stage}: the stage was skipped: {why}")


def summary(step_batches: list[Batch]) -> str:
    """Return the size of a step, over its micro-batches."""
    rows = sum(len(batch.inputs[0]) for batch in step_batches)
    positions = sum(batch.inputs[0].numel() for batch in step_batches)
    padding = 1 - sum(batch.tokens for batch in step_batches) / positions
    learnt = sum(int((batch.targets != IGNORE).sum()) for batch in step_batches)
    return f"{rows} rows, {positions} positions, {padding:.1%} padding, {learnt} targets learnt"


def open_pretrain(tree: Params, folder: Folder) -> StageBatches:
    tokenizer = Tokenizer.load(folder("tokenizer") / BPE)
    block = initial.shape(tree.model, folder("download") / "init").block_size
    rows = pretrain.rows(tree.pretrain, block, folder("tokenize"), tokenizer)
    batches = pretrain.batches(tree.pretrain, rows)
    return StageBatches(batches, tree.pretrain.training, partial(documents, rows, tokenizer))


def open_classify(tree: Params, folder: Folder) -> StageBatches:
    foundation = checkpoint.load(folder("pretrain") / "checkpoint")
    data = classify.encode(tree.classify, folder("prepare") / "classification", foundation)
    batches = classify.batches(tree.classify, data)
    show = partial(labelled, foundation.tokenizer, lambda label: data.labels[int(label)])
    return StageBatches(batches, tree.classify.training, show)


def open_instruct(tree: Params, folder: Folder) -> StageBatches:
    foundation, section = load_foundation(folder), tree.instruct
    batches = instruct.batches(section, folder("prepare") / "instruction", foundation)
    show = partial(conversations, foundation.tokenizer)
    replayed = open_replay(section.replay, foundation, section.seed, folder)
    return StageBatches(batches, section.training, show, replayed)


def open_prefer(tree: Params, folder: Folder) -> StageBatches:
    assistant = checkpoint.load_language_model(folder("instruct") / "checkpoint")
    file = folder("prepare") / "preference" / "train.jsonl"
    template, block = prefer.open_template(assistant), assistant.model.config.block_size
    train = prefer.pairs(preference.read(file), template, block, file)
    batches = prefer.batches(tree.prefer, train)
    replayed = open_replay(tree.prefer.replay, assistant, tree.prefer.seed, folder)
    show = partial(answers, assistant.tokenizer)
    return StageBatches(batches, tree.prefer.training, show, replayed)


def open_grader(tree: Params, folder: Folder) -> StageBatches:
    foundation = load_foundation(folder)
    batches = grader.batches(tree.grader, folder("prepare"), foundation)
    show = partial(labelled, foundation.tokenizer, lambda score: f"{score:.2f}")
    return StageBatches(batches, tree.grader.training, show)


OPEN = {
    "pretrain": open_pretrain,
    "classify": open_classify,
    "instruct": open_instruct,
    "prefer": open_prefer,
    "grader": open_grader,
}


def load_foundation(folder: Folder) -> checkpoint.Checkpoint[Transformer]:
    """Return the foundation model, whose tokenizer and context the finetuning stages use, if it
    predicts the next token.
    """
    return checkpoint.load_language_model(folder("pretrain") / "checkpoint")


def open_replay(
    section: settings.Replay | None,
    begun: checkpoint.Checkpoint[Transformer],
    seed: int,
    folder: Folder,
) -> Callable[[int], Iterator[Lines]]:
    """Return a function that yields the rows of pretraining text which a step learns besides."""
    tokenizer, block = begun.tokenizer, begun.model.config.block_size
    text = replay.opened(section, folder("tokenize") / "train", tokenizer, block, seed)

    def replayed(step: int) -> Iterator[Lines]:
        batch, first = (text.at(step), text.first(step)) if text else (None, None)
        if text and batch and first is not None:
            yield from documents(text.windows, tokenizer, batch, first)

    return replayed


def documents(rows: Rows, tokenizer: Tokenizer, batch: Batch, first: int) -> Iterator[Lines]:
    """Yield rows of pretraining, or the short rows into which they are cut: the documents of each,
    and its text.
    """
    ids, targets = batch.inputs[0], spread(batch)
    whole, length = rows.rows(first, ids.numel() // rows.block_size), ids.size(1)
    starts = range(0, rows.block_size, length)
    reach = length if isinstance(rows, Masked) else length + 1  # with the last target
    parts = [between(spans, start, start + reach) for spans in whole for start in starts]
    for i, spans in enumerate(parts):
        size = sum(count for _, count in spans)
        tokens = ids[i, :size].tolist()
        if size > len(tokens) and targets[i, -1] != IGNORE:
            tokens.append(int(targets[i, -1]))  # the last token is only a target
        learnt = int((targets[i] != IGNORE).sum())
        what = f"{size} tokens, {learnt} learnt, {max(0, ids.size(1) - size)} padding"
        found = [Text(line) for line in sources(rows.shards, spans)]
        if isinstance(rows, Masked):
            text = gaps(tokenizer, tokens, targets[i].tolist())
        else:
            text = one_line(tokenizer, tokens)
        yield [Text(what), *found, text]


def between(spans: list[Span], start: int, end: int) -> list[Span]:
    """Return the spans at the positions from `start` up to but not including `end` of a row."""
    found, place = [], 0
    for first, count in spans:
        begin, stop = max(start - place, 0), min(end - place, count)
        if begin < stop:
            found.append((first + begin, stop - begin))
        place += count
    return found


def gaps(tokenizer: Tokenizer, read: list[int], targets: list[int]) -> Text:
    """Return the text that is read; a learnt token follows what is read there, in brackets."""
    text = Text()
    pairs = zip(read, targets, strict=False)  # padding follows the last one read
    for is_learnt, run in groupby(pairs, key=lambda pair: pair[1] != IGNORE):
        if not is_learnt:
            text += one_line(tokenizer, [token for token, _ in run])
            continue
        for token, target in run:
            hidden = token == vocabulary.mask_id(tokenizer.n_vocab)
            seen = MASK if hidden else one_line(tokenizer, [token]).plain
            learnt = one_line(tokenizer, [target]).plain
            text += Text.assemble(f"[{seen}:", (learnt, LEARNT), "]")
    return text


def sources(shards: Shards, spans: list[Span]) -> Iterator[str]:
    """Yield where the tokens of a row come from, document by document."""
    place = 0
    for start, count in spans:
        end = start + count
        while start < end:
            number = int(shards.ends.searchsorted(start, side="right"))
            begin = int(shards.ends[number - 1]) if number else 0
            until = min(end, int(shards.ends[number]))
            size = int(shards.ends[number]) - begin
            where = f"tokens {start - begin} to {until - begin - 1} of {size}"
            yield f"document {number}, {where}, at position {place}"
            place, start = place + until - start, until


def texts(tokenizer: Tokenizer, batch: Batch, first: int) -> Iterator[Lines]:
    """Yield prompts and responses, with what is learnt in brackets."""
    ids, targets = batch.inputs[0], spread(batch)
    for row, row_targets in zip(ids.tolist(), targets.tolist(), strict=True):
        size = max((i + 1 for i, target in enumerate(row_targets) if target != IGNORE), default=0)
        learnt = sum(target != IGNORE for target in row_targets)
        text = bracketed(tokenizer, row, row_targets[:size])
        yield [Text(f"{size} tokens, {learnt} learnt, {len(row) - size} padding"), text]


def conversations(tokenizer: Tokenizer, batch: Batch, first: int) -> Iterator[Lines]:
    """Yield rows of one conversation, or of several packed ones, each on its own line."""
    if len(batch.inputs) == 2:
        yield from texts(tokenizer, batch, first)
        return
    ids, targets, numbers = batch.inputs[0], spread(batch), batch.inputs[2]
    for row, row_targets, of in zip(ids, targets, numbers.tolist(), strict=True):
        lines, size = [], 0
        for _, run in groupby(number for number in of if number != NOWHERE):
            begin, size = size, size + len(list(run))
            part = row_targets[begin:size].tolist()
            lines.append(bracketed(tokenizer, row[begin:size].tolist(), part))
        learnt, padding = int((row_targets != IGNORE).sum()), len(of) - size
        what = f"{len(lines)} conversations, {size} tokens, {learnt} learnt, {padding} padding"
        yield [Text(what), *lines]


def bracketed(tokenizer: Tokenizer, ids: list[int], targets: list[int]) -> Text:
    """Return a text as it is read, with what is learnt in brackets."""
    tokens = [(ids[0], False)]  # and whether each is learnt
    for read, target in zip([*ids[1:], IGNORE], targets, strict=False):
        tokens.append((read, False) if target == IGNORE else (target, True))
    text = Text()
    for is_learnt, run in groupby(tokens, key=lambda token: token[1]):
        part = one_line(tokenizer, [token for token, _ in run])
        text += Text.assemble("[", (part.plain, LEARNT), "]") if is_learnt else part
    return text


def answers(tokenizer: Tokenizer, batch: Batch, first: int) -> Iterator[Lines]:
    """Yield pairs of answers, the chosen one before the rejected one, each in brackets."""
    shown = list(texts(tokenizer, batch, first))
    half = len(shown) // 2
    for pair in zip(shown[:half], shown[half:], strict=True):
        for name, (what, *lines) in zip(("chosen", "rejected"), pair, strict=True):
            yield [Text(f"{name}, ") + what, *lines]


def labelled(
    tokenizer: Tokenizer, name: Callable[[float], str], batch: Batch, first: int
) -> Iterator[Lines]:
    """Yield texts with a label in brackets, which is what is learnt."""
    ids, lengths = batch.inputs
    for row, size, label in zip(
        ids.tolist(), lengths.tolist(), batch.targets.tolist(), strict=True
    ):
        what = Text(f"{size} tokens, {len(row) - size} padding, learnt ")
        what += Text.assemble("[", (printable.line(name(label)), LEARNT), "]")
        yield [what, one_line(tokenizer, row[:size])]


def spread(batch: Batch) -> Tensor:
    """Return the targets by position, (B, T), even if the batch has only those that are learnt."""
    if len(batch.inputs) == 1:
        return batch.targets
    ids, learnt = batch.inputs[:2]
    return torch.full_like(ids, IGNORE).masked_scatter(learnt, batch.targets)


def one_line(tokenizer: Tokenizer, ids: list[int]) -> Text:
    """Return the decoded text, with line ends and anything else that does not print escaped."""
    text = tokenizer.decode(ids)
    pieces = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return Text("".join(pieces))
