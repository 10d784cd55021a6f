"""What preferences give and cost, by recipe, on the validation split: the share of pairs with the
right reward, exact match, and what the model keeps of its foundation's knowledge, with a row for
each share of the way from the assistant to the tuned model.

    python -m benchmarks.preferring REPOSITORY --set replay.share=1.0 --shares 0.5,1.0

REPOSITORY is a clone with the assistant and the data of the world preset, which it does not change.
It takes about three minutes on one core.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.keeping import CPU, known, one_fact_questions, right_by_kind, section_of
from llmill.contract import runtime
from llmill.evaluation.judging.answers import answers
from llmill.model import checkpoint, lora
from llmill.stages import prefer
from llmill.stages.settings.prefer import Prefer
from llmill.tasks import instruction, preference
from llmill.training.best import weights_of
from llmill.training.interpolation import load_between
from llmill.training.preference import ahead, measured
from tests.jobs import Job


def main(
    repository: Path,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Set KEY=VALUE in section prefer.")
    ] = None,
    shares: Annotated[str, typer.Option(help="Shares of the way from the assistant.")] = "1.0",
) -> None:
    """Measure the assistant, tune it with the given parameters, and measure it again."""
    settings = Prefer(**section_of(repository / "params.yaml", "prefer", changes or []))
    assistant = checkpoint.load_language_model(repository / "results/instruct/checkpoint")
    model, template = assistant.model, prefer.open_template(assistant)
    prepared = repository / "data/prepare"
    tasks = instruction.read(prepared / "instruction/validate.jsonl")
    questions = one_fact_questions(prepared / "mmlu")
    entries, fitting = {}, {}
    for name in ("train", "validate"):
        file = prepared / f"preference/{name}.jsonl"
        entries[name] = preference.read(file)
        fitting[name] = prefer.pairs(entries[name], template, model.config.block_size, file)
    fitting["test"] = fitting["validate"]  # this script looks at no test pair
    runtime.start(settings.seed, settings.threads)

    def show(name: str, **figures: Any) -> None:
        found = answers(model, template, tasks, settings.max_new_tokens)
        row = {**figures, **right_by_kind(found), **known(model, template, questions)}
        print(json.dumps({"model": name, **row}), flush=True)

    show("instruct")
    before = weights_of(model)
    runtime.start(settings.seed, settings.threads)
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(Path(scratch) / "out", root=repository)
        pairs = prefer.with_references(settings, CPU, model, fitting, job)
        prefer.train(settings, CPU, assistant, pairs, entries["validate"], job)
    lora.merge(model)
    tuned = weights_of(model)
    for share in shares.split(","):
        load_between(model, before, tuned, float(share))
        found = measured(model, pairs["validate"], settings.loss)
        show(
            f"prefer, {share} of the way",
            reward=float(ahead(found.margin).mean()),
            chosen=float(found.chosen.mean()),
            rejected=float(found.rejected.mean()),
        )


if __name__ == "__main__":
    typer.run(main)
