"""The built-in world: true facts, and every kind of file the pipeline reads, made from them.

`write(folder, settings)` gives text, messages, instructions, preferences and questions in the
formats of the real sources, in seconds. To add a subject: a table in `tables/`, its line in
`facts.TABLES`, the wordings of its relations in `tables/phrasings.tsv`.
"""

import json
from pathlib import Path
from typing import Any

from llmill.contract.schema import World
from llmill.world import corpus, instructions, messages, questions
from llmill.world.questions import LEVELS

__all__ = ["LEVELS", "write"]


def write(folder: Path, settings: World) -> None:
    """Write the whole world into `folder`; the same settings give the same bytes.

    text/world/*.txt (documents between blank lines), classification/SMSSpamCollection,
    instruction/instruction-data.json, preference/instruction-data-with-preference.json,
    mmlu/{dev,val,test}/<subject>_<split>.csv and mmlu/levels.json.
    """
    for name, documents in corpus.documents(settings).items():
        _write(folder / "text/world" / name, "\n\n".join(documents) + "\n")
    _write(folder / "classification/SMSSpamCollection", messages.file_text(messages.make(settings)))
    tasks = instructions.make(settings)
    _write_json(folder / "instruction/instruction-data.json", [task.entry for task in tasks])
    preferences = [task.preference for task in tasks]
    _write_json(folder / "preference/instruction-data-with-preference.json", preferences)
    for split, asked in questions.make(settings).items():
        for subject in LEVELS:
            rows = questions.csv_text(q for q in asked if q.subject == subject)
            _write(folder / "mmlu" / split / f"{subject}_{split}.csv", rows)
    _write_json(folder / "mmlu/levels.json", LEVELS)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")


def _write_json(file: Path, value: Any) -> None:
    _write(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
