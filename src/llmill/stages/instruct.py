"""Fine-tune the foundation model into an assistant that follows instructions.

    python -m llmill instruct

In: the foundation model and the instructions. Out: `checkpoint/`, `curves.csv`, `metrics.json`, and
`answers/`: the test split answered by the foundation model (`pretrain.json`) and by the tuned one
(`instruct.json`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.answers import answers
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from llmill.model.transformer import Transformer
from llmill.stages.settings.instruct import Instruct
from llmill.tasks import instruction
from llmill.tasks.instruction import Instruction
from llmill.tasks.prompt import CHAT_TEMPLATE, prompt_ids
from llmill.text.tokenizer import Tokenizer
from llmill.training.batches import Example, Examples, collate_texts, response_example
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import token_loss
from llmill.training.progress import Figures

if TYPE_CHECKING:
    from llmill.contract.job import Job


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    instruct: Instruct


def run(params: Parameters, job: Job) -> None:
    """Answer the test split, train on responses, answer it again."""
    settings = params.instruct
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load_language_model(begun_from)
    model, tokenizer = foundation.model, foundation.tokenizer
    if settings.max_new_tokens >= model.config.block_size:
        raise UserError(
            f"params.yaml: instruct.max_new_tokens {settings.max_new_tokens} leaves no room for a "
            f"prompt in the {model.config.block_size} tokens that the foundation model reads"
        )
    folder = job.folder("prepare") / "instruction"
    train, test = batches(settings, folder, foundation), read(folder, "test")
    held_out = examples(settings, folder, foundation, "validate")
    runtime.start(settings.seed, settings.threads)
    # Answered before training too: beside that an answer shows what the tuning gave.
    (job.out / "answers").mkdir()
    before = answers(model, tokenizer, test, settings.max_new_tokens)
    record.write_json(job.out / "answers" / "pretrain.json", before)
    job.say(f"{train.n} instructions, {len(before)} answered before training")

    def validate(model: nn.Module, step: int) -> Figures:
        return {"validation_loss": loss_over(model, held_out)}

    work = Work(train, token_loss, validate, settings.training, params.runtime, settings.seed)
    curve = fit(model, work, job)
    model.cpu().eval()
    after = answers(model, tokenizer, test, settings.max_new_tokens)
    record.write_json(job.out / "answers" / "instruct.json", after)
    job.track.table("answers", after)
    assistant = Checkpoint(
        model,
        tokenizer,
        template=CHAT_TEMPLATE,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
    )
    checkpoint.save(job.out / "checkpoint", assistant)
    write_curve(job.out / "curves.csv", curve)
    metrics = {
        "validation_loss": loss_over(model, held_out),
        "steps": curve[-1]["step"],
        "train_instructions": train.n,
        "test_instructions": len(after),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"final_{k}": v for k, v in metrics.items()})


def read(folder: Path, split: str) -> list[Instruction]:
    """The instructions of a split."""
    return instruction.read(folder / f"{split}.jsonl")


def examples(
    settings: Instruct, folder: Path, foundation: Checkpoint[Transformer], split: str
) -> list[Example]:
    """The instructions of a split as the model reads and learns them."""
    tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
    mask = settings.mask_prompt
    return [example(entry, tokenizer, block, mask) for entry in read(folder, split)]


def batches(settings: Instruct, folder: Path, foundation: Checkpoint[Transformer]) -> Examples:
    """The instructions to train on, in the order of the run."""
    train = examples(settings, folder, foundation, "train")
    return Examples(train, collate_texts, settings.training.batch_size, settings.seed)


def example(entry: Instruction, tokenizer: Tokenizer, block: int, mask_prompt: bool) -> Example:
    """Ids and targets of one instruction with its response."""
    response = [*tokenizer.encode(entry.output), tokenizer.end_of_text]
    return response_example(prompt_ids(tokenizer, entry), response, block, mask_prompt)


@torch.inference_mode()
def loss_over(model: nn.Module, examples: list[Example]) -> float:
    """Mean loss in nats per learnt token."""
    device = next(model.parameters()).device
    nats, weight = 0.0, 0.0
    for start in range(0, len(examples), 32):
        batch = collate_texts(examples[start : start + 32]).to(device)
        nats += float(token_loss(model, batch))
        weight += batch.weight
    return nats / max(1.0, weight)
