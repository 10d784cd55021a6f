"""How well the assistant answers as the second turn of a conversation what it is also asked alone.

    python -m benchmarks.turns REPOSITORY

REPOSITORY is a clone with the assistant and the test instructions, which it does not change. Each
test instruction is asked alone, and after another one with its reference as the answer. It takes
about a minute on one core.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.keeping import section_of
from llmill.contract import runtime
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.matching.exact_match import same
from llmill.model import checkpoint
from llmill.model.transformer import Transformer
from llmill.stages import prefer
from llmill.tasks import instruction
from llmill.tasks.instruction import Instruction
from llmill.text.tokenization.template import Template


def after_another(tasks: list[Instruction]) -> list[Instruction]:
    """Return each task as the turn behind the task before it in the list, of the last for the
    first.
    """
    return [
        replace(task, earlier=before.messages)
        for before, task in zip([tasks[-1], *tasks[:-1]], tasks, strict=True)
    ]


def measured(
    model: Transformer, template: Template, tasks: list[Instruction], most: int
) -> tuple[int, int]:
    """Return the number of answers that equal the reference, and of those that end within `most`
    tokens.
    """
    prompts = [template.prompt(task.asked)[most - model.config.block_size :] for task in tasks]
    written = greedy(model, template.tokenizer, prompts, most)
    said = [template.tokenizer.decode(ids).strip() for ids in written]
    right = sum(same(text, task.output) for text, task in zip(said, tasks, strict=True))
    return right, sum(len(ids) < most for ids in written)


def main(
    repository: Path,
    stage: Annotated[str, typer.Option(help="instruct or prefer")] = "instruct",
) -> None:
    """Print both numbers for the test instructions asked alone, and asked after another one."""
    assistant = checkpoint.load_language_model(repository / "results" / stage / "checkpoint")
    template = prefer.open_template(assistant)
    most = section_of(repository / "params.yaml", "instruct", [])["max_new_tokens"]
    tasks = instruction.read(repository / "data/prepare/instruction/test.jsonl")
    runtime.start(0, 1)
    for name, asked in (("alone", tasks), ("second turn", after_another(tasks))):
        right, ended = measured(assistant.model, template, asked, most)
        print(f"{name}: {right} right and {ended} ended of {len(tasks)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
