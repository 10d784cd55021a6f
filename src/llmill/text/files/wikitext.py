"""WikiText (Merity et al. 2017), the corpus that perplexities are quoted on: its pages, and their
text as it was before it was split into words.

In its files, spaces separate words and marks, and numbers and hyphens are joined by `@,@`, `@.@`
and `@-@`. A page begins with a line ` = Title = `, a section with ` = = Section = = `. In the
tokenized files a rare word is `<unk>`, which stays as it is. The rules and their order are those of
lm-evaluation-harness (its task `wikitext`), so that figures can be compared; they are rough. A
page's words and bytes are counted before the rules are applied.
"""

import re

TITLE = re.compile(r"^ ?= [^=].* = *$", re.MULTILINE)
JOINING = "-,."  # characters between @ and @
MARKS = ":;.!?,"  # the space after these stays, the space before them goes
# Spaces at the ends of the text inside these go.
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"))
DEGREE = "\N{DEGREE SIGN}"


def pages(text: str) -> list[str]:
    """Return the pages of a file, each with its title. Text before the first title is one, too."""
    begins = [found.start() for found in TITLE.finditer(text)]
    ends = [*begins[1:], len(text)]
    parts = [text[: begins[0]] if begins else text]
    parts += [text[begin:end] for begin, end in zip(begins, ends, strict=True)] if begins else []
    return [part for part in parts if part.strip()]


def words(page: str) -> int:
    """Count words as the harness does: parts between white space, also empty ones at the ends."""
    return len(re.split(r"\s+", page))


def detokenized(page: str) -> str:
    """Return the page as one would normally write it."""
    page = page.replace("s '", "s'")
    for mark in JOINING:
        page = page.replace(f" @{mark}@ ", mark)
    for mark in MARKS:
        page = page.replace(f" {mark} ", f"{mark} ")
    for opening, closing in BRACKETS:
        inside = rf"\{opening}\s*([^\{closing}]*?)\s*\{closing}"
        page = re.sub(inside, rf"{opening}\1{closing}", page)
    for level in (4, 3, 2):
        page = page.replace(" ".join("=" * level), "=" * level)
    page = page.replace(f" {DEGREE} ", DEGREE)
    page = page.replace(" \n", "\n").replace("\n ", "\n")
    return page.replace(" N ", " 1 ").replace(" 's", "'s")
