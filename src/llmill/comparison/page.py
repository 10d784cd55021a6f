"""The comparison as a page: one HTML file, in the style of the report, that requests nothing from
the network.
"""

from pathlib import Path

from markupsafe import Markup

from llmill.comparison import cells
from llmill.comparison.chain import Comparison
from llmill.report import form, templates

TEMPLATE = "page.html.jinja"


def render(comparison: Comparison) -> str:
    """Return the whole page."""
    page = templates.page(TEMPLATE, {"with_code": with_code}, [Path(__file__).parent])
    return page.render(comparison=comparison, cells=cells, form=form)


def with_code(text: str) -> Markup:
    """Return a sentence with the text between backticks marked as code."""
    parts = text.split("`")
    shown = [Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts)]
    return Markup("").join(shown)
