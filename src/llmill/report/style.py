"""The style of figures in two themes, and their reproducible PNG bytes."""

import base64
import io
from collections.abc import Callable
from typing import Any

from cycler import cycler
from matplotlib import style
from matplotlib.figure import Figure

# Okabe and Ito (2008): distinct with every kind of colour vision, on white and on black.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ON_BLACK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
MARKERS = ("o", "s", "^", "D", "v", "P")
CHANCE: dict[str, Any] = {"color": "#888888", "linestyle": (0, (4, 3)), "linewidth": 1.2}

BASE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 100,
    "svg.hashsalt": "llmill",
    "text.parse_math": False,  # labels come from the data: show a dollar sign as it is
}
LIGHT, DARK = "light", "dark"
INKS = {  # paper, ink, lines, series
    LIGHT: ("#ffffff", "#20262e", "#e3e6ea", SERIES),
    DARK: ("#181c21", "#dfe4ea", "#343b44", ON_BLACK),
}
WIDTH = 8.0  # inches, at 100 dots per inch: the width at which a figure is read
DOTS = 160  # per inch in the file


def draw(figure: Callable[..., Figure], theme: str, *data: Any) -> Figure:
    """Draw a figure in a theme, regardless of matplotlib's settings on this machine."""
    paper, ink, line, series = INKS[theme]
    colours = {
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), paper),
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink),
        "axes.edgecolor": ink,
        "grid.color": line,
        "axes.prop_cycle": cycler(color=series),
    }
    with style.context(["default", BASE, colours]):
        return figure(*data)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG, without matplotlib's version in its metadata."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS, metadata={"Software": None})
    return file.getvalue()


def data_uri(image: bytes) -> str:
    """Return a PNG as a data URI for a page."""
    return "data:image/png;base64," + base64.b64encode(image).decode()
