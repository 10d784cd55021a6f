"""Tune the assistant on preferences: pairs of a chosen and a rejected answer to one prompt.

    python -m llmill prefer

Input: the assistant of stage instruct, the pairs, the test instructions. Output: `checkpoint/`,
`curves.csv`, `metrics.json`, and `answers/prefer.json`, the tuned model's answers to the test
instructions. The reference is the assistant before the training. Its log-likelihoods of the answers
are computed first, so that only the model in training stays in memory. An adapter is trained on the
whole assistant, even if the assistant is an adapter itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.judging.answers import answers, prompts_cut, refuse_no_room
from llmill.evaluation.statistics import intervals
from llmill.model import checkpoint, lora
from llmill.model.checkpoint import Checkpoint
from llmill.model.transformer import Transformer
from llmill.stages.settings.prefer import Prefer
from llmill.tasks import instruction, preference, templates
from llmill.tasks.conversation import Message, message
from llmill.tasks.preference import Preference
from llmill.text.tokenization.template import Template
from llmill.training import replay
from llmill.training.batches import Examples, learnt_example
from llmill.training.drift import Drift
from llmill.training.loop import Work, fit, length, write_curve
from llmill.training.preference import (
    Measured,
    Pair,
    ahead,
    answer_length,
    collate_pairs,
    measured,
    pair_length,
    preference_loss,
    prompt_of,
    with_reference,
)
from llmill.training.progress import Figures, Row

if TYPE_CHECKING:
    from llmill.contract.job import Job

SPLITS = ("train", "validate", "test")
DRAWN = 64  # most answers of the reference from which the drift is estimated
REFERENCE = "pairs read by the reference"
CHOSEN = "chosen_log_probability"


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    prefer: Prefer


def run(params: Parameters, job: Job) -> None:
    """Score with the reference, train on the pairs, answer the test instructions."""
    settings, hardware, prepared = params.prefer, params.runtime, job.folder("prepare")
    begun_from = job.folder("instruct") / "checkpoint"
    assistant = checkpoint.load_language_model(begun_from)
    model, template = assistant.model, open_template(assistant)
    block = model.config.block_size
    refuse_no_room("prefer.max_new_tokens", settings.max_new_tokens, block)
    if settings.adapter is not None:
        lora.refuse_unknown(settings.adapter, model.config, "params.yaml: prefer.adapter")
    files = {name: prepared / "preference" / f"{name}.jsonl" for name in SPLITS}
    entries = {name: preference.read(file) for name, file in files.items()}
    fitting = {name: pairs(entries[name], template, block, files[name]) for name in SPLITS}
    too_long = sum(len(entries[name]) - len(fitting[name]) for name in SPLITS)
    job.say(
        f"{len(fitting['train'])} pairs to train on; {too_long} left out that are longer than the "
        f"{block} tokens that the assistant reads"
    )
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(hardware)
    model.to(device)
    known = with_references(settings, hardware, model, fitting, job)
    before = measured(model, known["test"], settings.loss)
    curve = train(settings, hardware, assistant, known, entries["validate"], job)
    # Merge the adapter as a reader of the checkpoint does, so that the metrics are of that model.
    adapter = lora.taken(model, settings.adapter, begun_from)
    after = measured(model.to(device), known["test"], settings.loss)
    tests = instruction.read(prepared / "instruction" / "test.jsonl")
    cut = prompts_cut(model, template, tests, settings.max_new_tokens, job.say)
    answered = answers(model, template, tests, settings.max_new_tokens, job.progress("answers"))
    model.cpu()
    (job.out / "answers").mkdir()
    record.write_json(job.out / "answers" / "prefer.json", answered)
    job.track.table("answers", answered)
    weights = checkpoint.weights_hash(begun_from)
    # Without an adapter the model is whole, even if the assistant was one: it is merged by now.
    tuned = replace(assistant, made_by=job.stage.address, begun_from=weights, adapter=adapter)
    checkpoint.save(job.out / "checkpoint", tuned)
    write_curve(job.out / "curves.csv", curve)
    fell = chosen_fell(curve)
    if fell is not None:
        job.say(f"at step {fell} the chosen answers were less likely than before the training")
    metrics = {
        **held_out(before, after, known["test"]),
        **{name: curve[-1][name] for name in ("validation_loss", "kl")},
        "chosen_fell_at_step": fell,
        "steps": curve[-1]["step"],
        **{f"{name}_pairs": len(known[name]) for name in SPLITS},
        "pairs_too_long": too_long,
        "test_instructions": len(answered),
        "test_prompts_cut": cut,
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"final_{k}": v for k, v in intervals.numbers_of(metrics).items()})


def with_references(
    settings: Prefer,
    hardware: Runtime,
    model: nn.Module,
    fitting: dict[str, list[Pair]],
    job: Job,
) -> dict[str, list[Pair]]:
    """Return the pairs of each split with the log-likelihoods that the model gives them before it
    is trained.
    """
    # Only what is trained on is rounded to bfloat16, as the training itself rounds. The rounding of
    # two likelihoods is larger than most changes of their difference.
    with runtime.autocast(hardware):
        read = pairs_read(settings, fitting["train"])
        learnt = with_reference(
            model, fitting["train"], settings.loss, read, job.progress(REFERENCE)
        )
    held = {
        name: with_reference(model, fitting[name], settings.loss, progress=job.progress(REFERENCE))
        for name in SPLITS
        if name != "train"
    }
    return {"train": learnt, **held}


def train(
    settings: Prefer,
    hardware: Runtime,
    assistant: Checkpoint[Transformer],
    known: dict[str, list[Pair]],
    validate_entries: Sequence[Preference],
    job: Job,
) -> list[Row]:
    """Train the assistant's model in place, and return the curve. The model ends on the CPU, with
    its adapter beside its weights.
    """
    model, template = assistant.model, open_template(assistant)
    block = model.config.block_size
    prompts = [template.prompt(entry.asked) for entry in validate_entries[:DRAWN]]
    drift = Drift(model, template, prompts, settings.max_new_tokens, settings.seed)

    def validate(model: nn.Module, step: int) -> Figures:
        found = measured(model, known["validate"], settings.loss)
        return validation_figures(found) | {"kl": drift(model)}

    if settings.adapter is not None:
        lora.add(model, settings.adapter)
        learnt = sum(p.numel() for p in lora.trainable(model).values())
        job.say(f"an adapter of {learnt:,} parameters is learnt")
    if model.switch_off_dropout():
        job.say("dropout is off: the reference has none, and margins compare the two")
    text = job.folder("tokenize") / "train"
    work = Work(
        batches(settings, known["train"]),
        preference_loss(settings.loss, settings.chosen_weight),
        validate,
        settings.training,
        hardware,
        settings.seed,
        replay=replay.opened(settings.replay, text, assistant.tokenizer, block, settings.seed),
        begun=True,
    )
    curve = fit(model, work, job)
    model.cpu().eval()
    return curve


def open_template(assistant: Checkpoint[Any]) -> Template:
    """Return the assistant's template."""
    assert assistant.template is not None, "stage instruct teaches one"
    return templates.for_training(assistant.template, assistant.tokenizer)


def pairs(entries: Sequence[Preference], template: Template, block: int, file: Path) -> list[Pair]:
    """Return the pairs as ids and targets, without pairs that are longer than the context: if cut,
    two answers would no longer have the same prompt. Raise `UserError` if no pair is left.
    """
    found = []
    for entry in entries:
        texts = [answered(entry.asked, text, template) for text in (entry.chosen, entry.rejected)]
        if all(len(ids) <= block + 1 for ids, _ in texts):
            chosen, rejected = (learnt_example(ids, learnt, block) for ids, learnt in texts)
            found.append(Pair(chosen, rejected))
    if not found:
        raise UserError(
            f"{file}: of {len(entries)} pairs none fits into the {block} tokens that the assistant "
            "reads; raise model.block_size"
        )
    return found


def answered(
    asked: Sequence[Message], answer: str, template: Template
) -> tuple[list[int], list[bool]]:
    """Return the ids of a conversation, and whether each belongs to the last answer, because
    earlier answers are part of the prompt.
    """
    ids, learnt = template.learnt([*asked, message("assistant", answer)])
    last = max((n for n, is_learnt in enumerate(learnt) if is_learnt), default=-1)
    first = last
    while first > 0 and learnt[first - 1]:
        first -= 1
    return ids, [first <= n <= last for n in range(len(ids))]


def batches(settings: Prefer, train: Sequence[Pair]) -> Examples:
    """Return the batches of pairs to train on, in the order of the run."""
    size = settings.training.batch_size
    return Examples(train, collate_pairs, size, settings.seed, pair_length)


def pairs_read(settings: Prefer, train: Sequence[Pair]) -> list[int]:
    """Return the numbers of the pairs that the run reads; it may be shorter than an epoch."""
    size = settings.training.batch_size * settings.training.grad_accum_steps
    count = min(length(settings.training, len(train)) * size, len(train))
    return sorted(set(batches(settings, train).order.items(0, count)))


def validation_figures(found: Measured) -> Figures:
    """Return means over the pairs: loss, accuracy, margin, and log-likelihoods in nats."""
    return {
        "validation_loss": float(found.loss.mean()),
        "validation_accuracy": float(ahead(found.margin).mean()),
        "margin": float(found.margin.mean()),
        CHOSEN: float(found.chosen.mean()),
        "rejected_log_probability": float(found.rejected.mean()),
    }


def chosen_fell(curve: Sequence[Row]) -> int | None:
    """Return the first step at which the chosen answers were less likely than before training."""
    rows = [row for row in curve if row.get(CHOSEN) is not None]
    return next((row["step"] for row in rows if row[CHOSEN] < rows[0][CHOSEN]), None)


def held_out(before: Measured, after: Measured, tests: Sequence[Pair]) -> dict[str, Any]:
    """Return how often the chosen answer has the higher reward; and as baselines, how often a
    longer or shorter length identifies it, and the log-likelihood under the model before or after
    the training, in total and per token.
    """
    chosen = Tensor([answer_length(pair.chosen) for pair in tests])  # (P,), tokens
    rejected = Tensor([answer_length(pair.rejected) for pair in tests])

    prompts = [prompt_of(pair) for pair in tests]  # pairs of one prompt are not independent

    def share(differences: Tensor) -> intervals.Interval:
        right = ahead(differences).tolist()
        return intervals.share_of_items(right, prompts, intervals.CONFIDENCE)

    beside = {"longer_answer": share(chosen - rejected), "shorter_answer": share(rejected - chosen)}
    for name, found in (("before", before), ("after", after)):
        beside[f"likelihood_{name}"] = share(found.chosen - found.rejected)
        per_token = found.chosen / chosen - found.rejected / rejected
        beside[f"likelihood_per_token_{name}"] = share(per_token)
    return {
        "accuracy": share(after.margin),
        "beside": beside,
        "margin": float(after.margin.mean()),
        "chosen_log_probability": {
            name: float(found.chosen.mean())
            for name, found in (("before", before), ("after", after))
        },
    }
