"""Read a YAML file as DVC does: YAML 1.2, with ruamel.yaml's safe loader. `012` is twelve, `1e-3`
is a number, `yes` is a word, and no key may occur twice.

Input: a file. Output: its values, or one line that says where it is wrong.
"""

import copy
import functools
import math
import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from llmill.contract import printable
from llmill.contract.errors import UserError

LONGEST_LINE = 400  # characters of an error
MOST_VALUES = 100_000  # in a file, after its aliases (`*name`) are filled in


def load(file: Path, missing: str, most_bytes: int | None = None) -> Any:
    """Return the values of a file; `missing` says what to do if it does not exist. Raises
    `UserError`.
    """
    try:
        if file.exists() and not file.is_file():
            raise UserError(f"{file}: not a file")
        if most_bytes and file.stat().st_size > most_bytes:
            raise UserError(f"{file}: above {most_bytes:,} bytes, so not what it should be")
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; {missing}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(one_line(f"{file}: not YAML: {error}")) from None


def parse(text: str) -> Any:
    """Return the values of a text, as the caller's own copy. Raises `ValueError`, with a line
    number if there is one.
    """
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=16)  # one command reads params.yaml and the presets again and again
def _parsed(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they fill several lines; DVC shows them
            if "*" in text:
                _refuse_explosion(compose(text))
            return YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from None
    except RecursionError:
        raise ValueError("brackets in brackets, too deep") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: a control character stands in it") from None
    except (YAMLError, AssertionError) as error:  # such as a version of YAML
        raise ValueError(str(error)) from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:  # a tag: `!!int one`
        raise ValueError(f"a value does not fit its tag, or is too long: {error}") from None


def compose(text: str) -> Node | None:
    """Return the nodes of a text, which know their positions in it."""
    return YAML(typ="safe").compose(text)


def one_line(text: str) -> str:
    """Return text for a terminal: white space as single spaces, control characters escaped."""
    line = printable.line(" ".join(text.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."


def _refuse_explosion(root: Node | None) -> None:
    """Raise `ValueError` if aliases turn a few lines into millions of values, or nest a value in
    itself.
    """
    sizes: dict[int, float] = {}

    def size(node: Node) -> float:
        if isinstance(node, ScalarNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # while it is counted; meeting it again means a cycle
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
        return sizes[id(node)]

    if root is not None and size(root) > MOST_VALUES:
        raise ValueError(f"its aliases (*name) stand for more than {MOST_VALUES:,} values")


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value
