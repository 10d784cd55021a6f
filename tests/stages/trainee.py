"""A tiny world of files on which each training stage runs in a second, in a folder of its own."""

from pathlib import Path

import numpy as np

from llmill.model import checkpoint
from llmill.runner.tree import Params
from llmill.tasks import classification, instruction, preference
from llmill.tasks.classification import Message
from llmill.tasks.conversation import message
from llmill.tasks.instruction import Instruction
from llmill.tasks.preference import Preference
from llmill.tasks.templates import ALPACA
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document
from llmill.text.tokenization import shards
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.conftest import preset
from tests.evaluation.toys import bytes_tokenizer, decoder
from tests.jobs import Job


def job(folder: Path, variant: str | None = None) -> Job:
    """What the runner hands a stage."""
    made = Job(folder / "out", variant, root=Path())
    made.scratch.mkdir(exist_ok=True)
    return made


def smoke(**sections: dict) -> Params:
    """The smoke preset with some values changed: `smoke(instruct={"mask_prompt": False})`."""
    tree = preset("smoke")
    changed = {
        name: getattr(tree, name).model_copy(update=values) for name, values in sections.items()
    }
    return tree.model_copy(update=changed)


def foundation(folder: Path, block_size: int = 64, causal: bool = True, seed: int = 0) -> Tokenizer:
    """A random foundation model over bytes, at its place."""
    tokenizer = bytes_tokenizer()
    saved = checkpoint.Checkpoint(decoder(seed, block_size, causal), tokenizer)
    checkpoint.save(folder / "results/pretrain/checkpoint", saved)
    return tokenizer


def assistant(folder: Path, block_size: int = 256) -> None:
    """A random assistant over bytes that learnt Alpaca's template, at its place."""
    model, tokenizer = decoder(block_size=block_size), bytes_tokenizer()
    saved = checkpoint.Checkpoint(model, tokenizer, template=ALPACA, made_by="instruct")
    checkpoint.save(folder / "results/instruct/checkpoint", saved)


def tokens(folder: Path) -> Tokenizer:
    """Shards of counting sentences, and their tokenizer."""
    tokenizer = bytes_tokenizer()
    tokenizer.save(folder / "data/tokenizer/bpe")
    for split, count in (("train", 60), ("validate", 12)):
        place = folder / "data/tokenize" / split
        place.mkdir(parents=True, exist_ok=True)
        texts = [f"{n} and {n + 1} make {2 * n + 1}." for n in range(count)]
        shards.write_index(
            place, tokenizer.n_vocab, [shards.write(place, "00000", texts, tokenizer)]
        )
    return tokenizer


def messages(folder: Path) -> None:
    """Messages whose last letter is their class."""
    rng = np.random.default_rng(0)
    place = folder / "data/prepare/classification"
    place.mkdir(parents=True)
    for split, count in (("train", 96), ("validate", 16), ("test", 16)):
        rows = []
        for n in range(count):
            label = ("ham", "spam")[n % 2]
            letters = "".join(rng.choice(list("abcdefgh"), int(rng.integers(1, 12))))
            rows.append(Message(label, letters + ("x" if label == "spam" else "o")))
        classification.write(place / f"{split}.jsonl", rows)


def masked(**model: object) -> Params:
    """The smoke preset, made to pretrain a masked model in a context of 32."""
    tree = smoke(model={"block_size": 32, "causal": False, **model})
    samples = tree.pretrain.samples.model_copy(update={"prompts": []})
    settings = tree.pretrain.model_copy(update={"objective": "masked", "samples": samples})
    return tree.model_copy(update={"pretrain": settings})


def documents(folder: Path) -> None:
    """A document in each split, of its own."""
    for split, text in (("train", "Rain fell. It was cold."), ("validate", "Snow lay. It froze.")):
        parquet.write(folder / "data/prepare/text" / split, [Document(text, "t", "0")], 1)


def instructions(folder: Path) -> None:
    """Instructions to say a letter twice, and the text that is replayed beside them."""
    tokens(folder)
    place = folder / "data/prepare/instruction"
    place.mkdir(parents=True)
    for split, letters in (("train", "abcdefghijkl"), ("validate", "mn"), ("test", "opq")):
        rows = [
            Instruction(
                f"Say {c}.", c if n % 2 else "", f"I say {c} and {c}.", "say", [f"{c}{c}"], ["no"]
            )
            for n, c in enumerate(letters)
        ]
        instruction.write(place / f"{split}.jsonl", rows)


def preferences(folder: Path) -> None:
    """Pairs that prefer a letter said twice to `no`."""
    place = folder / "data/prepare/preference"
    place.mkdir(parents=True)
    for split, letters in (("train", "abcdefghijkl"), ("validate", "mn"), ("test", "opq")):
        pairs = [Preference([message("user", f"Say {c}.")], f"{c}{c}", "no") for c in letters]
        preference.write(place / f"{split}.jsonl", pairs)
