"""How much of its foundation's knowledge an assistant keeps, by recipe: exact match on the
validation tasks, and results on the validation questions about one fact, with a row for each share
of the way from the foundation to the assistant.

    python -m benchmarks.keeping REPOSITORY --set replay=null --shares 0.8,1.0

REPOSITORY is a clone with the foundation and the data of the world preset, which it does not
change. It takes two to six minutes on one core.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from llmill.contract import record, runtime
from llmill.contract.hardware import Runtime
from llmill.evaluation.judging.answers import answers
from llmill.evaluation.matching.exact_match import same
from llmill.evaluation.multiple_choice import knowledge
from llmill.evaluation.multiple_choice.choices import Asking, cloze_scores
from llmill.model import checkpoint, lora
from llmill.model.transformer import Transformer
from llmill.stages import instruct
from llmill.stages.knowledge import ONE_FACT
from llmill.stages.settings.instruct import Instruct
from llmill.tasks.multiple_choice import Question, read
from llmill.text.tokenization.template import Template
from llmill.training import replay
from llmill.training.best import weights_of
from llmill.training.interpolation import load_between
from llmill.training.loop import Work, fit
from llmill.training.losses import token_loss
from llmill.world.instructions import WORD_KINDS
from tests.jobs import Job

FACTS = {"question", *WORD_KINDS.values()}
CPU = Runtime(device="cpu", dtype="float32")


def main(
    repository: Path,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Set KEY=VALUE in section instruct.")
    ] = None,
    shares: Annotated[str, typer.Option(help="Shares of the way from the foundation.")] = "1.0",
) -> None:
    """Train an assistant with the given parameters, and measure it at each share."""
    settings = Instruct(**section_of(repository / "params.yaml", "instruct", changes or []))
    foundation = checkpoint.load_language_model(repository / "results/pretrain/checkpoint")
    model, data = foundation.model, repository / "data"
    instructions = data / "prepare/instruction"
    template = instruct.open_template(settings, foundation)
    questions = one_fact_questions(data / "prepare/mmlu")
    tasks = instruct.read(instructions, "validate")
    runtime.start(settings.seed, settings.threads)

    def measured(name: str) -> None:
        found = answers(model, template, tasks, settings.max_new_tokens)
        row = {**right_by_kind(found), **known(model, template, questions)}
        print(json.dumps({"share": name, **row}), flush=True)

    measured("foundation")
    before = weights_of(model)
    if settings.adapter is not None:
        lora.add(model, settings.adapter)
    train = instruct.batches(settings, instructions, foundation)
    text, block = data / "tokenize/train", model.config.block_size
    again = replay.opened(settings.replay, text, foundation.tokenizer, block, settings.seed)
    work = Work(
        train,
        token_loss,
        lambda model, step: {},
        settings.training,
        CPU,
        settings.seed,
        replay=again,
    )
    with tempfile.TemporaryDirectory() as scratch:
        fit(model, work, Job(Path(scratch) / "out"))
    model.eval()
    lora.merge(model)
    after = weights_of(model)
    for share in shares.split(","):
        load_between(model, before, after, float(share))
        measured(share)


def section_of(file: Path, name: str, changes: list[str]) -> dict[str, Any]:
    """Return a section of a parameter file, with some values changed."""
    section: dict[str, Any] = yaml.safe_load(file.read_text())[name]
    for change in changes:
        key, _, value = change.partition("=")
        *path, last = key.split(".")
        place = section
        for part in path:
            place = place[part]
        place[last] = yaml.safe_load(value)
    return section


def one_fact_questions(folder: Path) -> list[Question]:
    """Return the validation questions about one fact."""
    levels = record.read_json(folder / "levels.json")
    return [q for q in read(folder / "val.jsonl") if levels[q.subject] == ONE_FACT]


def right_by_kind(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count exact matches: all, of tasks about facts, of the other tasks, and of each kind."""
    right, asked = Counter[str](), Counter[str]()
    for row in rows:
        group = "facts" if row["kind"] in FACTS else "skills"
        for name in (row["kind"], group, "all"):
            asked[name] += 1
            right[name] += same(row["answer"], row["output"])
    return {name: f"{right[name]} of {n}" for name, n in sorted(asked.items())}


def known(model: Transformer, template: Template, questions: list[Question]) -> dict[str, Any]:
    """Return the shares of questions that are answered correctly, by cloze and in free text."""
    tokenizer = template.tokenizer
    picks = cloze_scores(model, tokenizer, questions, Asking({}), 64).picks("byte")
    texts = knowledge.written(model, tokenizer, questions)
    right = sum(pick == q.answer for pick, q in zip(picks, questions, strict=True))
    return {
        "cloze": right / len(questions),
        "written": sum(map(knowledge.holds, texts, questions)) / len(questions),
        "of_others": knowledge.of_others(texts, questions),
        "questions": len(questions),
    }


if __name__ == "__main__":
    typer.run(main)
