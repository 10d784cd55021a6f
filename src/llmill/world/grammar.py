"""The little English grammar that the templates need: articles, plurals and verb forms."""

import re

START = re.compile(r"(?:^|(?<=[.?!] )|(?<=^\"))[a-z]")  # the first letter of a sentence
SAME = {"cod", "deer", "sheep", "moose", "salmon", "squid", "trout", "shrimp", "carp", "tuna"}
IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "wolf": "wolves",
    "buffalo": "buffaloes",
    "mosquito": "mosquitoes",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "man": "men",
    "woman": "women",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "knife": "knives",
    "shelf": "shelves",
    "loaf": "loaves",
    "leaf": "leaves",
}


def article(noun: str) -> str:
    """Return the noun with `a` or `an`."""
    vowel = noun[0] in "aeio" or (noun[0] == "u" and not noun.startswith(("uni", "us")))
    return f"{'an' if vowel else 'a'} {noun}"


def plural(noun: str) -> str:
    """Return the plural of a noun; a noun phrase changes at its end."""
    if noun in SAME:
        return noun
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def capital(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def sentences(text: str) -> str:
    """Return the text with a capital at the start of each sentence."""
    return START.sub(lambda found: found.group().upper(), text)
