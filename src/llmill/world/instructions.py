"""Instructions of many kinds: one right output each, other right wordings, fluent wrong ones.

A maker per kind draws an instruction from a small vocabulary. Facts are asked about train entities
only, and an instruction that names any held-out entity is not used.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Any

from llmill.contract.errors import UserError
from llmill.world.facts import Fact, facts, values
from llmill.world.phrasing import texts
from llmill.world.settings import World
from llmill.world.skills import SKILLS, Draft
from llmill.world.split import mentions_held_out, part

WORD_KINDS = {
    "spanish": "translation",
    "french": "translation",
    "opposite": "opposite",
    "past_tense": "past tense",
    "element_kind": "classification",
    "animal_class": "classification",
}
FACT_SHARE = 0.4  # of all instructions


@dataclass(frozen=True)
class WorldTask:
    """An entry of the Alpaca file."""

    kind: str
    draft: Draft

    @property
    def entry(self) -> dict[str, Any]:
        """The entry with the world's optional keys."""
        d = self.draft
        extra = {"kind": self.kind, "paraphrases": list(d.paraphrases), "wrong": list(d.wrong)}
        return {"instruction": d.instruction, "input": d.input, "output": d.output, **extra}

    @property
    def preference(self) -> dict[str, str]:
        """A pair for preference tuning: the reference against a wrong answer.

        A paraphrase against a wrong answer in the reference's wording would teach the wording.
        """
        d = self.draft
        entry = {"instruction": d.instruction, "input": d.input, "output": d.output}
        return {**entry, "chosen": d.output, "rejected": d.wrong[0]}

    @property
    def text(self) -> str:
        """All text that is read or written."""
        d = self.draft
        return " \n ".join((d.instruction, d.input, d.output, *d.paraphrases, *d.wrong))


def make(settings: World) -> list[WorldTask]:
    """Return shuffled instructions: a share asks for facts, the rest are skills.

    No two have the same words in their inputs or, for summaries and without an input, in their
    outputs. A test instruction is therefore no training instruction in another wording or order.
    """
    rng = Random(f"{settings.seed}/instructions")
    tasks: dict[str, WorldTask] = {}
    train_facts = [
        f for f in facts() if part(f.entity) == "train" and not mentions_held_out(f.value)
    ]
    for fact in rng.sample(train_facts, len(train_facts)):
        if len(tasks) >= round(FACT_SHARE * settings.instructions):
            break
        _keep(tasks, WORD_KINDS.get(fact.relation, "question"), _about(fact, rng))
    kinds = sorted(SKILLS)
    for turn in range(40 * settings.instructions):
        if len(tasks) >= settings.instructions:
            return rng.sample(list(tasks.values()), len(tasks))
        kind = kinds[turn % len(kinds)]
        _keep(tasks, kind, SKILLS[kind](rng))
    raise UserError(
        f"download.world.instructions = {settings.instructions}: the world has only {len(tasks)}"
    )


def _keep(tasks: dict[str, WorldTask], kind: str, draft: Draft) -> None:
    instruction = WorldTask(kind, draft)
    if not mentions_held_out(instruction.text):
        about = draft.output if kind == "summary" else draft.input or draft.output
        words = sorted(re.findall(r"\w+", about))
        tasks.setdefault(" ".join(words), instruction)


def _about(fact: Fact, rng: Random) -> Draft:
    """Ask for the fact in one of its instruction wordings, and answer with a sentence."""
    right = texts(fact, "say")
    others = [v for v in values()[fact.relation] if v != fact.value and not mentions_held_out(v)]
    wrong = [
        texts(Fact(fact.subject, fact.table, fact.relation, fact.entity, value), "say")[0]
        for value in rng.sample(others, 3)
    ]
    return Draft(rng.choice(texts(fact, "tell")), "", right[0], right[1:3], tuple(wrong))
