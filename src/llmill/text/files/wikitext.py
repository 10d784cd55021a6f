"""WikiText (Merity et al. 2017), the corpus that perplexities are quoted on: its pages, and their
text as it was before it was cut into words.

In its files words and marks stand between spaces, and numbers and hyphens are joined by `@,@`,
`@.@` and `@-@`; a page begins with a line ` = Title = `, a section with ` = = Section = = `. In the
tokenized ones a rare word is `<unk>`, which stays as it is. The rules are those of
lm-evaluation-harness (its task `wikitext`), in its order, so that figures compare; they are rough.
A page's words and bytes are counted before them.
"""

import re

TITLE = re.compile(r"^ ?= [^=].* = *$", re.MULTILINE)
JOINING = "-,."  # what stands between @ and @
MARKS = ":;.!?,"  # behind which a space stays, and before which it goes
# Inside which spaces at the ends go.
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"))
DEGREE = "\N{DEGREE SIGN}"


def pages(text: str) -> list[str]:
    """The pages of a file, each with its title; what stands before the first is one, too."""
    begins = [found.start() for found in TITLE.finditer(text)]
    ends = [*begins[1:], len(text)]
    parts = [text[: begins[0]] if begins else text]
    parts += [text[begin:end] for begin, end in zip(begins, ends, strict=True)] if begins else []
    return [part for part in parts if part.strip()]


def words(page: str) -> int:
    """As the harness counts them: the parts between white space, also empty ones at both ends."""
    return len(re.split(r"\s+", page))


def detokenized(page: str) -> str:
    """The page as a text that one would write."""
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
