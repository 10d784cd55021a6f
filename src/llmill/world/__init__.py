"""The built-in world: true facts, and every kind of file that the pipeline reads, made from them.

`write(folder, settings, sources)` writes text, messages, instructions, preferences and questions in
the formats of the real sources, in seconds. There are two sources of text: `world`, and `news`,
whose facts occur in nothing made from the world, for a model that is to learn more later. To add a
subject, add a table in `tables/`, its line in `facts.TABLES`, and the wordings of its relations in
`tables/phrasings.tsv`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmill.contract.known import WORLD
from llmill.world import corpus, instructions, messages, questions
from llmill.world.questions import LEVELS
from llmill.world.settings import World

__all__ = ["LEVELS", "write"]


def write(folder: Path, settings: World, sources: Iterable[str] = (WORLD,)) -> None:
    """Write the texts of these sources and all other files. The same settings give the same bytes.

    text/<source>/*.txt (documents between blank lines), classification/SMSSpamCollection and
    tests/*.tsv, instruction/instruction-data.json,
    preference/instruction-data-with-preference.json, mmlu/{dev,val,test}/<subject>_<split>.csv,
    mmlu/levels.json (of subjects) and mmlu/entities.json (of questions). Questions are always asked
    about the world, and about the other sources.
    """
    for source in sources:
        for name, documents in corpus.documents(settings, source).items():
            _write(folder / "text" / source / name, "\n\n".join(documents) + "\n")
    _write(folder / "classification/SMSSpamCollection", messages.file_text(messages.make(settings)))
    for name, labelled in messages.tests(settings).items():
        _write(folder / "classification/tests" / f"{name}.tsv", messages.file_text(labelled))
    tasks = instructions.make(settings)
    _write_json(folder / "instruction/instruction-data.json", [task.entry for task in tasks])
    preferences = [task.preference for task in tasks]
    _write_json(folder / "preference/instruction-data-with-preference.json", preferences)
    levels: dict[str, str] = {}
    entities: dict[str, str] = {}
    for source in dict.fromkeys((WORLD, *sources)):
        for split, rows_of_split in questions.make(settings, source).items():
            entities |= {q.text: q.fact.entity for q in rows_of_split if q.fact is not None}
            for subject in LEVELS[source]:
                rows = questions.csv_text(q for q in rows_of_split if q.subject == subject)
                _write(folder / "mmlu" / split / f"{subject}_{split}.csv", rows)
        levels |= LEVELS[source]
    _write_json(folder / "mmlu/levels.json", levels)
    _write_json(folder / "mmlu/entities.json", entities)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")


def _write_json(file: Path, value: Any) -> None:
    _write(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
