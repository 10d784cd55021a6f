"""What answers test instructions without understanding them: exact match of a constant for each
kind, and of a look-up table.

    python benchmarks/guesses.py

Run stage `prepare` first. It takes half a minute on the world.
"""

from collections import Counter, defaultdict
from pathlib import Path

import typer

from llmill.evaluation.matching.exact_match import same
from llmill.runner import params
from llmill.tasks import instruction
from llmill.tasks.instruction import Instruction
from llmill.text import words


def main(file: Path = Path("params.yaml")) -> None:
    """Print the exact match of both guesses on the test split, beside the number of tasks."""
    folder = Path(params.load(file).paths.data, "prepare/instruction")
    learnt, asked = (instruction.read(folder / f"{split}.jsonl") for split in ("train", "test"))
    guesses = {
        "commonest training answer of the kind": commonest(learnt, asked),
        "answer of the most similar training instruction": most_similar(learnt, asked),
    }
    for name, answers in guesses.items():
        right = sum(
            same(answer, entry.output) for answer, entry in zip(answers, asked, strict=True)
        )
        print(f"{name}: {right} of {len(asked)}, {right / len(asked):.1%}")


def commonest(learnt: list[Instruction], asked: list[Instruction]) -> list[str]:
    """Return for each task the answer that is right most often in training on tasks of its kind."""
    by_kind: dict[str | None, Counter[str]] = defaultdict(Counter)
    for entry in learnt:
        by_kind[entry.kind][entry.output] += 1
    return [
        by_kind[entry.kind].most_common(1)[0][0] if by_kind[entry.kind] else "" for entry in asked
    ]


def most_similar(learnt: list[Instruction], asked: list[Instruction]) -> list[str]:
    """Return for each task the answer to the training task that shares most words with it (Jaccard
    index of bags of words).
    """
    bags = [Counter(words.split(entry.task)) for entry in learnt]

    def nearest(entry: Instruction) -> str:
        own = Counter(words.split(entry.task))

        def alike(number: int) -> float:
            return (own & bags[number]).total() / (own | bags[number]).total()

        return learnt[max(range(len(bags)), key=alike)].output

    return [nearest(entry) for entry in asked]


if __name__ == "__main__":
    typer.run(main)
