"""Pages from HTML templates: the report's page, and others in its style."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

FOLDER = Path(__file__).parent


def page(
    name: str, filters: Mapping[str, Callable[..., Any]], folders: Sequence[Path] = ()
) -> Template:
    """Load a template from the first folder that has it; the report's own folder comes last. Values
    are escaped, and a missing value is an error.
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
