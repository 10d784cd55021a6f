"""One entry for many files: `train-{00000..00012}-of-00013.parquet`, written as in bash.

Input: the list `files` of a source, as written in the table. Output: one entry per file.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST = 100_000  # files per entry


def names(pattern: str) -> list[str]:
    """Return every name that a pattern stands for. Of several ranges, the last one counts fastest.

    A text without a range is its own name. Raises `ValueError`.
    """
    between = RANGE.split(pattern)[::3]
    ranges = [_numbers(*match.groups()) for match in RANGE.finditer(pattern)]
    count = 1
    for numbers in ranges:
        count *= len(numbers)
        if count > MOST:
            raise ValueError(f"'{pattern}' names more than {MOST:,} files")
    found = []
    for chosen in itertools.product(*ranges):
        pieces = itertools.zip_longest(between, chosen, fillvalue="")
        found.append("".join(itertools.chain.from_iterable(pieces)))
    return found


def files(entries: list[Any]) -> Iterator[tuple[int, Any]]:
    """Yield each file with the number of its entry. Raises `ValueError`, which names the entry."""
    for number, entry in enumerate(entries):
        try:
            yield from ((number, file) for file in _files(entry))
        except ValueError as error:
            raise ValueError(f"files.{number}: {error}") from None


def _numbers(first: str, last: str) -> list[str]:
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    if padded and len(first) != len(last):
        raise ValueError(f"{{{first}..{last}}}: with leading zeros both need as many digits")
    if int(first) > int(last):
        raise ValueError(f"{{{first}..{last}}} counts down; write {{{last}..{first}}}")
    if int(last) - int(first) >= MOST:
        raise ValueError(f"{{{first}..{last}}} names more than {MOST:,} files")
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


def _files(entry: Any) -> list[Any]:
    """Return the files of an entry. Anything but a pattern is returned as it is, to be checked
    later.
    """
    if not isinstance(entry, dict):
        return [entry]
    pattern, urls = entry.get("path"), entry.get("urls", [])
    if not isinstance(pattern, str) or not isinstance(urls, list):
        return [entry]
    if not all(isinstance(url, str) for url in urls):
        return [entry]
    if not any(RANGE.search(text) for text in (pattern, *urls)):
        return [entry]
    paths = names(pattern)
    sizes, hashes = (_each(key, entry, len(paths)) for key in ("bytes", "sha256"))
    named = [names(url) for url in urls]
    for url, addresses in zip(urls, named, strict=True):
        if len(addresses) != len(paths):
            raise ValueError(f"'{url}' names {len(addresses):,} files, its path {len(paths):,}")
    return [
        {**entry, "path": path, "bytes": size, "sha256": sha256, "urls": list(addresses)}
        for path, size, sha256, *addresses in zip(paths, sizes, hashes, *named, strict=True)
    ]


def _each(key: str, entry: dict[str, Any], count: int) -> list[Any]:
    """Return the values that an entry gives for its files: a list as long as they are, or null."""
    value = entry.get(key)
    if value is None:
        return [None] * count
    if not isinstance(value, list):
        raise ValueError(f"{key} = {value!r}: a pattern of {count:,} files takes a list, or null")
    if len(value) != count:
        raise ValueError(f"{key} has {len(value):,} values for {count:,} files")
    return value
