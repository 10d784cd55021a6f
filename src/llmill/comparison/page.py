"""The comparison as a page: one HTML file, in the style of the report, that asks nothing of the
network.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import llmill.report
from llmill.comparison import cells
from llmill.comparison.chain import Comparison
from llmill.report import form

TEMPLATE = "page.html.jinja"


def render(found: Comparison) -> str:
    """The whole page."""
    folders = [Path(__file__).parent, Path(llmill.report.__file__).parent]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["with_code"] = with_code
    return environment.get_template(TEMPLATE).render(found=found, cells=cells, form=form)


def with_code(text: str) -> Markup:
    """A sentence, what stands between backticks in it as code."""
    parts = text.split("`")
    shown = [Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts)]
    return Markup("").join(shown)
