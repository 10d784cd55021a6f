"""How a relation is said and asked: the rows of `tables/phrasings.tsv`, filled with a fact.

`say`: sentences of the corpus. `ask`: questions, in the corpus (about train entities) and in tests.
`unseen`: questions of the tests only. `tell`: instructions, in words that are nowhere else. Fields:
{e} entity, {v} value, {a} and {av} the same with an article, {es} entity in the plural. Fields with
a capital ({E}) begin a sentence.
"""

from functools import cache, lru_cache

from llmill.world.facts import Fact, read_csv
from llmill.world.grammar import article, capital, plural

USES = ("say", "ask", "unseen", "tell")


@lru_cache(maxsize=1)
def phrasings() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the templates by relation and use."""
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in read_csv("phrasings.tsv", "\t"):
        uses = table.setdefault(row["relation"], dict.fromkeys(USES, ()))
        uses[row["use"]] += (row["text"],)
    return table


@cache
def texts(fact: Fact, use: str) -> tuple[str, ...]:
    """Return the fact in every phrasing of this use."""
    e, v = fact.entity, fact.value
    fields = {"e": e, "v": v, "a": article(e), "av": article(v), "es": plural(e)}
    fields |= {capital(name): capital(text) for name, text in fields.items()}
    return tuple(template.format(**fields) for template in phrasings()[fact.relation][use])
