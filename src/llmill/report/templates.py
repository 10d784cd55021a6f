"""Pages from templates in HTML: the report's, and others that are made in its style."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

FOLDER = Path(__file__).parent


def page(
    name: str, filters: Mapping[str, Callable[..., Any]], folders: Sequence[Path] = ()
) -> Template:
    """The template of this name in the first of the folders that has it; the last is the report's
    own. What is filled in is escaped, and what is not there is an error.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
