"""Change values of a YAML text in place. Everything else stays byte for byte: comments, quotes,
braces and spaces.

Input: a text, and a smaller one with the changes. Output: the whole text. `ruamel.yaml` reports the
position of each value. Its own writer is not used, because it drops `null` and moves comments.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from llmill.contract import yaml_file

COMMENT = re.compile(r"[ \t]+#[^\r\n]*")
Keys = tuple[str, ...]  # the path to a value
Whole = Callable[[Keys, set[str]], bool]  # whether a mapping there, with these keys, is one value


@dataclass(frozen=True)
class Entry:
    """A `key: value` of a mapping, with its position in the text."""

    text: str
    key: ScalarNode
    value: Node

    @property
    def begin(self) -> int:
        """Position after the colon."""
        return self.text.index(":", self.key.end_mark.index) + 1

    @property
    def end(self) -> int:
        """Position after the value."""
        return max(self.begin, _end(self.text, self.value))

    @property
    def comment_end(self) -> int:
        """Position after the comment that follows on the line, if there is one."""
        comment = COMMENT.match(self.text, self.end)
        return comment.end() if comment else self.end

    @property
    def is_block(self) -> bool:
        """Whether the value stands on lines of its own."""
        return isinstance(self.value, CollectionNode) and not self.value.flow_style


def merge(text: str, changes: str, whole: Whole) -> str:
    """Return the text with the values of `changes` in place of its own.

    A mapping is merged key by key, unless `whole` says that it is one value. Such a mapping, a list
    and a scalar are replaced. If a comment follows a new value on its line, it replaces the old
    comment; otherwise the old comment stays. A key that the text does not have is added after its
    neighbours. Raises `ValueError` if the text cannot be changed this way (anchors, for example).
    """
    goal = values(yaml_file.parse(text), yaml_file.parse(changes), whole)
    base, other = yaml_file.compose(text), yaml_file.compose(changes)
    pieces, done = [], 0
    for begin, end, new in sorted(_edits(text, base, changes, other, whole), key=lambda e: e[:2]):
        pieces += [text[done:begin], new]
        done = end
    merged = "".join([*pieces, text[done:]])
    if yaml_file.parse(merged) != goal:
        raise ValueError("its values cannot be changed one by one")
    return merged


def values(base: Any, changes: Any, whole: Whole, path: Keys = ()) -> Any:
    """Do what `merge` does, but to the values that the texts stand for."""
    if not isinstance(base, dict) or not isinstance(changes, dict) or whole(path, set(changes)):
        return changes
    merged = {k: values(base.get(k), v, whole, (*path, str(k))) for k, v in changes.items()}
    return base | merged


def _edits(
    text: str, node: Node | None, changes: str, other: Node | None, whole: Whole, path: Keys = ()
) -> Iterator[tuple[int, int, str]]:
    """Yield each change: begin, end, and the new text between them."""
    here = {entry.key.value: entry for entry in _entries(text, node)}
    for new in _entries(changes, other):
        entry, where = here.get(new.key.value), (*path, new.key.value)
        if entry is None:
            yield _added(text, node, new)
            continue
        keys = {key.value for key, _ in new.value.value} if _is_mapping(new.value) else None
        if keys is None or not _is_mapping(entry.value) or whole(where, keys):
            # A comment at the end of a block belongs to its last line.
            ends_comment = entry.is_block or new.comment_end > new.end
            end = entry.comment_end if ends_comment else entry.end
            yield entry.begin, end, changes[new.begin : new.comment_end]
            continue
        yield from _edits(text, entry.value, changes, new.value, whole, where)
        if not entry.is_block and not new.is_block and new.comment_end > new.end:
            yield entry.end, entry.comment_end, changes[new.end : new.comment_end]


def _added(text: str, node: Node | None, new: Entry) -> tuple[int, int, str]:
    """Return the edit that adds an entry at the end of a mapping."""
    written = f"{new.key.value}:{new.text[new.begin : new.comment_end]}"
    entries = _entries(text, node)
    if not isinstance(node, MappingNode):
        raise ValueError("it holds no keys")
    if node.flow_style:
        end = node.end_mark.index - 1
        return end, end, f", {written}" if entries else written
    end = entries[-1].comment_end
    return end, end, "\n" + " " * node.start_mark.column + written


def _entries(text: str, node: Node | None) -> list[Entry]:
    if not isinstance(node, MappingNode):
        return []
    scalar = [pair for pair in node.value if isinstance(pair[0], ScalarNode)]
    return [Entry(text, key, value) for key, value in scalar]


def _is_mapping(node: Node) -> bool:
    return isinstance(node, MappingNode)


def _end(text: str, node: Node) -> int:
    """Return where a value ends; for a block, ruamel.yaml reports where the next one begins."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    begin, end = node.start_mark.index, node.end_mark.index
    return begin + len(text[begin:end].rstrip())
