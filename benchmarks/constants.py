"""What embedded judges give to answers that ignore the question, on the validation tasks: for each
seed, the mean score of each of some constant answers that no judge learns from and no test uses.

    python -m benchmarks.constants REPOSITORY --seeds 3

REPOSITORY is a clone with the foundation and the data of the world preset, which it does not
change. Each seed takes about four minutes on one core.
"""

import json
import tempfile
from pathlib import Path

import typer
import yaml

from llmill.contract.hardware import Runtime
from llmill.model import checkpoint
from llmill.stages import grader
from llmill.stages.settings.grader import Grader
from llmill.tasks import instruction
from llmill.tasks.graded import Graded
from tests.jobs import Job

CONSTANTS = (
    "It is right.",
    "It is false.",
    "It is so.",
    "It is here.",
    "It is a thing.",
    "There are some.",
    "There are many of them.",
    "The result is good.",
    "That is all.",
    "I agree.",
    "Good.",
    "All of this is possible.",
)
CPU = Runtime(device="cpu", dtype="float32")


def main(repository: Path, seeds: int = 3) -> None:
    """Train a judge per seed, and print what it gives."""
    section = yaml.safe_load((repository / "params.yaml").read_text())["grader"]
    prepared = repository / "data/prepare"
    for of in grader.trainings(Grader(**{**section, "seeds": seeds})):
        foundation = checkpoint.load_language_model(repository / "results/pretrain/checkpoint")
        tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
        rows = grader.responses(of, prepared, "validate")
        encoded = grader.encode(rows, tokenizer, block)
        tasks = instruction.read(prepared / "instruction/validate.jsonl")
        given = {
            answer: grader.encode(
                [Graded(task, "constant", answer, 0.0) for task in tasks], tokenizer, block
            )
            for answer in ("", *CONSTANTS)
        }
        held = grader.HeldOut(rows, encoded, encoded, given)
        with tempfile.TemporaryDirectory() as scratch:
            job = Job(Path(scratch) / "out", root=repository)
            _, judge = grader.train(of, CPU, foundation, held, job)
        means = {answer: sum(scores) / len(scores) for answer, scores in judge.probed.items()}
        print(
            json.dumps(
                {
                    "seed": of.seed,
                    "loss": judge.validation_loss,
                    **grader.paraphrases(rows, [judge.predicted]),
                    "mean": sum(means.values()) / len(means),
                    "most": max(means.values()),
                    "gives": means,
                },
                default=str,
            ),
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
