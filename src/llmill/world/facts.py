"""The true facts of the world, read from `tables/*.csv`.

The first column of a table names the entity, and each further column is a relation. An empty cell
is not a fact. To add a subject, write a table, name it in `TABLES`, and give its relations their
rows in `tables/phrasings.tsv`. The facts of `news` occur in no text of `world`: they are for
learning later.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from llmill.contract.known import NEWS, WORLD

TABLES = {  # by source: the subject of each table
    WORLD: {
        "countries": "geography",
        "cities": "places",
        "states": "places",
        "elements": "chemistry",
        "animals": "animals",
        "opposites": "english",
        "verbs": "english",
        "words": "foreign_words",
        "books": "literature",
        "arts": "arts",
        "moons": "astronomy",
        "stars": "astronomy",
        "fields": "science",
        "physics": "science",
        "instruments": "science",
        "shapes": "science",
        "discoveries": "science",
        "gods": "literature",
    },
    NEWS: {
        "provinces": "regions",
        "films": "cinema",
        "athletes": "sports",
    },
}
FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Fact:
    """One cell of a table: the `value` of a `relation` for an `entity`."""

    subject: str
    table: str
    relation: str
    entity: str
    value: str


@cache
def facts(source: str = WORLD) -> tuple[Fact, ...]:
    """Return all facts of a source, in the order of its tables."""
    tables = TABLES[source].items()
    return tuple(fact for table, subject in tables for fact in _read(table, subject))


@lru_cache(maxsize=1)
def by_subject() -> dict[str, tuple[Fact, ...]]:
    """Return the facts of each subject of every source."""
    return grouped(_every(), "subject")


@lru_cache(maxsize=1)
def by_relation() -> dict[str, tuple[Fact, ...]]:
    """Return the facts of each relation of every source."""
    return grouped(_every(), "relation")


@lru_cache(maxsize=1)
def by_entity() -> dict[tuple[str, str], tuple[Fact, ...]]:
    """Return the facts of each entity of a table, of every source."""
    return {
        (table, entity): of_entity
        for table, of_table in grouped(_every(), "table").items()
        for entity, of_entity in grouped(of_table, "entity").items()
    }


@lru_cache(maxsize=1)
def values() -> dict[str, tuple[str, ...]]:
    """Return the distinct values of each relation, in the order of the table."""
    return {r: tuple(dict.fromkeys(f.value for f in fs)) for r, fs in by_relation().items()}


def grouped(some: Iterable[Fact], field: str) -> dict[str, tuple[Fact, ...]]:
    """Group facts by one of their fields, in order."""
    groups: dict[str, list[Fact]] = {}
    for fact in some:
        groups.setdefault(getattr(fact, field), []).append(fact)
    return {key: tuple(group) for key, group in groups.items()}


def read_csv(name: str, delimiter: str = ",") -> list[dict[str, str]]:
    """Read the rows of a file in `tables/`."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        if delimiter == ",":
            return list(csv.DictReader(file))
        return list(csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE))


def _every() -> list[Fact]:
    return [fact for source in TABLES for fact in facts(source)]


def _read(table: str, subject: str) -> list[Fact]:
    facts = []
    for row in read_csv(f"{table}.csv"):
        entity, *relations = row
        facts += [Fact(subject, table, r, row[entity], row[r]) for r in relations if row[r]]
    return facts
