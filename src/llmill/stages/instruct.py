"""Fine-tune the foundation model into an assistant that follows instructions.

    python -m llmill instruct

Input: the foundation model and the instructions. Output: `checkpoint/`, `curves.csv`,
`metrics.json`, and `answers/`: the answers to the test instructions by the foundation model
(`pretrain.json`) and the tuned one (`instruct.json`); optionally `samples.json`, answers during the
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.judging.answers import answers, prompts_cut, refuse_no_room
from llmill.evaluation.matching.exact_match import same
from llmill.model import checkpoint, lora
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.cross_entropy import IGNORE
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.stages.settings.instruct import Instruct
from llmill.tasks import instruction, templates
from llmill.tasks.instruction import Instruction
from llmill.tasks.pairing import paired
from llmill.text.tokenization.template import Template
from llmill.training import replay
from llmill.training.batches import Example, Examples, at_once, collate_texts, learnt_example
from llmill.training.best import HIGHER_IS_BETTER, best_row, weights_of
from llmill.training.interpolation import load_best_between
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import token_loss
from llmill.training.noise import Collate, noisy
from llmill.training.packing import collate_packed, packed, row_length
from llmill.training.progress import Figures, Row
from llmill.training.sampling import Samples
from llmill.training.settings import Best, Interpolation

if TYPE_CHECKING:
    from llmill.contract.job import Job

AT_ONCE = 32  # most examples per batch in evaluation


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    instruct: Instruct


@dataclass(frozen=True)
class InstructionSplits:
    """The instructions of each split, and the template that encodes them."""

    template: Template
    train: Examples  # rows of one encoded instruction, or of several
    learnt: list[Example]  # the conversations of these rows
    pairs: int  # of training instructions, each of which is one conversation
    share: float  # of their tokens, those with a target
    validate: list[Instruction]
    held_out: list[Example]  # `validate`, encoded
    test: list[Instruction]
    cut: int  # of train and validate: longer than the context, so only their end is learnt

    @property
    def instructions(self) -> int:
        """The number of training instructions."""
        return len(self.learnt) + self.pairs


@dataclass(frozen=True)
class Tuning:
    """What the steps of the stage share."""

    settings: Instruct
    hardware: Runtime
    data: InstructionSplits
    job: Job


def run(params: Parameters, job: Job) -> None:
    """Answer the test split, train on the responses, answer the test split again."""
    settings = params.instruct
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load_language_model(begun_from)
    model = foundation.model
    # A mistake in the parameters is found before the first answer, which takes long.
    refuse_unfit(settings, model.config)
    data = load(settings, job.folder("prepare") / "instruction", foundation)
    tuning = Tuning(settings, params.runtime, data, job)
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(params.runtime)
    # Answers from before the training show what the tuning changed.
    answer_test(tuning, model.to(device), "pretrain")
    model.cpu()
    say_learnt(tuning, model.config.block_size)
    too_long = prompts_cut(model, data.template, data.test, settings.max_new_tokens, job.say)
    before = weights_of(model) if settings.interpolate else {}
    # In scratch, so that a resumed training still has the samples from before it was stopped.
    samples = Samples(job.scratch / "samples")
    curve = train(tuning, foundation, samples)
    interpolations = interpolated(tuning, model, before)
    # An adapter is merged first: the answers are those of the model that later stages read.
    adapter = lora.taken(model.cpu(), settings.adapter, begun_from)
    job.track.table("answers", answer_test(tuning, model.to(device), "instruct"))
    metrics = {
        "validation_loss": loss_over(model, data.held_out),
        "steps": curve[-1]["step"],
        "kept_step": kept_step(curve, settings.best),
        **({"interpolation": interpolations} if interpolations else {}),
        "train_instructions": data.instructions,
        **({"train_pairs": data.pairs} if data.pairs else {}),
        "learnt_share": data.share,
        "instructions_cut": data.cut,
        "test_prompts_cut": too_long,
        "test_instructions": len(data.test),
    }
    assistant = Checkpoint(
        model.cpu(),
        data.template.tokenizer,
        template=data.template.source,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
        adapter=adapter,
    )
    write(job, assistant, curve, samples.gather(), metrics)


def refuse_unfit(settings: Instruct, shape: Model) -> None:
    """Raise `UserError` if an answer has no room in the context, or an adapter no matrix."""
    refuse_no_room("instruct.max_new_tokens", settings.max_new_tokens, shape.block_size)
    if settings.adapter is not None:
        lora.refuse_unknown(settings.adapter, shape, "params.yaml: instruct.adapter")


def load(
    settings: Instruct, folder: Path, foundation: Checkpoint[Transformer]
) -> InstructionSplits:
    """Read the instructions of each split, and encode those to train on and to validate with."""
    template, block = open_template(settings, foundation), foundation.model.config.block_size
    train = batches(settings, folder, foundation)
    learnt = [text for row in train.examples for text in row]
    share = learnt_share(learnt)
    held_out = examples(settings, folder, foundation, "validate")
    single, validate, test = (read(folder, split) for split in ("train", "validate", "test"))
    pairs, cut = len(single) - len(learnt), 0
    # Only an example that fills the context can be cut; counting encodes every text once more.
    if any(len(ids) == block for ids, _ in (*learnt, *held_out)):
        cut = n_cut([*single, *validate], template, block)
    return InstructionSplits(template, train, learnt, pairs, share, validate, held_out, test, cut)


def say_learnt(tuning: Tuning, block: int) -> None:
    """Print how many instructions are learnt, and how many are cut to `block` tokens."""
    data = tuning.data
    packed_into = f" in {data.train.n} rows" if tuning.settings.packing != "none" else ""
    joined = f", {2 * data.pairs} of them in conversations of two turns" if data.pairs else ""
    tuning.job.say(
        f"{data.instructions} instructions{packed_into}{joined}, {data.share:.1%} of their tokens "
        f"learnt, {len(data.test)} answered before training"
    )
    if data.cut:
        tuning.job.say(
            f"{data.cut} instructions are longer than {block} tokens: their end is learnt"
        )


def answer_test(tuning: Tuning, model: Transformer, name: str) -> list[dict[str, Any]]:
    """Answer the test instructions; write the answers to `answers/NAME.json` and return them."""
    data, progress = tuning.data, tuning.job.progress("answers")
    rows = answers(model, data.template, data.test, tuning.settings.max_new_tokens, progress)
    folder = tuning.job.out / "answers"
    folder.mkdir(exist_ok=True)
    record.write_json(folder / f"{name}.json", rows)
    return rows


def train(tuning: Tuning, foundation: Checkpoint[Transformer], samples: Samples) -> list[Row]:
    """Train the foundation's model in place, with its adapter beside its weights; return the
    curve. Every validation adds to the samples.
    """
    settings, data, model = tuning.settings, tuning.data, foundation.model

    def validate(model: nn.Module, step: int) -> Figures:
        if settings.samples:
            asked = data.validate[: settings.samples]
            samples.keep(step, answered(model, data.template, asked, settings.max_new_tokens))
        return measured(tuning, model, settings.best)

    if settings.adapter is not None:
        lora.add(model, settings.adapter)
        learnt = sum(p.numel() for p in lora.trainable(model).values())
        tuning.job.say(f"an adapter of {learnt:,} parameters is learnt")
    # Old text is replayed, because the task alone makes the model forget most of what it knew.
    text, block = tuning.job.folder("tokenize") / "train", model.config.block_size
    work = Work(
        data.train,
        token_loss,
        validate,
        settings.training,
        tuning.hardware,
        settings.seed,
        replay=replay.opened(settings.replay, text, foundation.tokenizer, block, settings.seed),
        best=settings.best,
    )
    curve = fit(model, work, tuning.job)
    model.eval()
    return curve


def measured(tuning: Tuning, model: nn.Module, by: Best | Interpolation | None) -> Figures:
    """Return the validation metrics: the loss, and exact match if `by` chooses weights by it."""
    data = tuning.data
    found = {"validation_loss": loss_over(model, data.held_out)}
    if by is not None and by.figure == "exact_match":  # slow: as long as many steps
        length = tuning.settings.max_new_tokens
        found["exact_match"] = exact_match(model, data.template, data.validate, length)
    return found


def kept_step(curve: Sequence[Row], best: Best | None) -> int:
    """Return the step whose weights the training kept: the best by validation, or the last."""
    kept = best_row(curve, best.figure) if best else curve[-1]
    return kept["step"] if kept else 0


def interpolated(tuning: Tuning, model: nn.Module, before: Mapping[str, Tensor]) -> list[Row]:
    """Load the best weights between those `before` the training and the model's, if the parameters
    ask for interpolation. Return one row of metrics per share.
    """
    settings = tuning.settings.interpolate
    if settings is None:
        return []
    measure = partial(measured, tuning, by=settings)
    rows = load_best_between(model, before, settings.shares, measure, settings.figure)
    kept = best_row(rows, settings.figure)
    assert kept is not None, "every share is measured"
    tuning.job.say(
        "interpolation from the foundation's weights (0%) to the tuned weights (100%): "
        f"{kept['share']:.0%} is kept, the best of {len(rows)} by {in_words(settings.figure)} on "
        f"the validation split ({figures_in_words(kept)})"
    )
    return rows


def figures_in_words(row: Row) -> str:
    """Return the measured figures of a row: `validation loss 1.234, exact match 71.2%`."""
    return ", ".join(
        f"{in_words(name)} {value:{'.1%' if name in HIGHER_IS_BETTER else '.3f'}}"
        for name, value in row.items()
        if name != "share"
    )


def in_words(name: str) -> str:
    """Return the name of a figure in words: `exact match`."""
    return name.replace("_", " ")


def write(
    job: Job,
    assistant: Checkpoint[AnyModel],
    curve: list[Row],
    samples: list[dict[str, Any]],
    metrics: dict[str, Any],
) -> None:
    """Write the stage's other files, and log them to the tracker."""
    checkpoint.save(job.out / "checkpoint", assistant)
    write_curve(job.out / "curves.csv", curve)
    if samples:
        record.write_json(job.out / "samples.json", samples)
        job.track.table("samples", samples)
    record.write_json(job.out / "metrics.json", metrics)
    single = {k: v for k, v in metrics.items() if k != "interpolation"}
    job.track.metrics({f"final_{k}": v for k, v in single.items()})


def read(folder: Path, split: str) -> list[Instruction]:
    """Read the instructions of a split."""
    return instruction.read(folder / f"{split}.jsonl")


def examples(
    settings: Instruct, folder: Path, foundation: Checkpoint[Transformer], split: str
) -> list[Example]:
    """Return the instructions of a split as ids and targets. Some of the training split are joined
    in conversations of two turns, if the parameters ask for it.
    """
    template, block = open_template(settings, foundation), foundation.model.config.block_size
    entries = read(folder, split)
    if split == "train" and settings.two_turns:

        def fits(entry: Instruction) -> bool:
            return not is_cut(entry, template, block)

        entries = paired(entries, settings.two_turns, settings.seed, fits)
    return [example(entry, template, block, settings.mask_prompt) for entry in entries]


def batches(settings: Instruct, folder: Path, foundation: Checkpoint[Transformer]) -> Examples:
    """Return the training batches in the order of the run. A row has one conversation, or several
    packed ones.
    """
    train, config = examples(settings, folder, foundation, "train"), foundation.model.config
    rows = [[each] for each in train]
    if settings.packing == "conversations":
        rows = packed(train, config.block_size)
    collate: Collate = collate_packed
    if settings.neftune_alpha is not None:
        collate = noisy(collate_packed, settings.neftune_alpha, config.n_embd)
    return Examples(rows, collate, settings.training.batch_size, settings.seed, row_length)


def open_template(settings: Instruct, foundation: Checkpoint[Transformer]) -> Template:
    """Return the assistant's template, with a tokenizer whose ends include the token that ends an
    answer. Raise `UserError` if the template ends an answer without a special token.
    """
    tokenizer = foundation.tokenizer
    text = templates.source(settings.template, tokenizer, foundation.weights_template)
    template = templates.for_training(text, tokenizer)
    end = template.end()
    if end is None:
        raise UserError(
            f"params.yaml: instruct.template {settings.template} ends an answer with no special "
            "token, so no answer would end; choose another template"
        )
    return (
        template if end in tokenizer.ends else templates.for_training(text, tokenizer.ending(end))
    )


def example(entry: Instruction, template: Template, block: int, mask_prompt: bool) -> Example:
    """Return ids and targets of a conversation. With `mask_prompt` the loss covers only the
    responses and their ends, otherwise all tokens.
    """
    ids, learnt = template.learnt(entry.messages)
    return learnt_example(ids, learnt if mask_prompt else [True] * len(ids), block)


def n_cut(entries: Sequence[Instruction], template: Template, block: int) -> int:
    """Return how many entries are longer than the context, and are therefore cut on the left."""
    return sum(is_cut(entry, template, block) for entry in entries)


def is_cut(entry: Instruction, template: Template, block: int) -> bool:
    """Return whether an entry is longer than the context."""
    return len(template.learnt(entry.messages)[0]) > block + 1


def learnt_share(examples: Sequence[Example]) -> float:
    """Return the share of tokens with a target. Raise `UserError` if no token has one."""
    learnt = sum(target != IGNORE for _, targets in examples for target in targets)
    if learnt == 0:
        raise UserError(
            f"params.yaml: instruct.template: of {len(examples)} instructions no token is learnt; "
            "the template leaves out what the assistant says"
        )
    return learnt / sum(len(targets) for _, targets in examples)


def exact_match(
    model: nn.Module, template: Template, entries: list[Instruction], length: int
) -> float:
    """Return the exact match of the model's answers with the references."""
    rows = answered(model, template, entries, length)
    return sum(same(row["answer"], row["output"]) for row in rows) / max(1, len(rows))


def answered(
    model: nn.Module, template: Template, entries: list[Instruction], length: int
) -> list[dict[str, Any]]:
    """Return the answers of the model in training."""
    assert isinstance(model, Transformer), "what this stage trains"
    return answers(model, template, entries, length)


@torch.inference_mode()
def loss_over(model: nn.Module, examples: list[Example]) -> float:
    """Return the mean loss in nats per token with a target."""
    device = next(model.parameters()).device
    nats, weight = 0.0, 0.0
    size = at_once(AT_ONCE, max((len(ids) for ids, _ in examples), default=0))
    for start in range(0, len(examples), size):
        batch = collate_texts(examples[start : start + size]).to(device)
        nats += float(token_loss(model, batch))
        weight += batch.weight
    return nats / max(1.0, weight)
