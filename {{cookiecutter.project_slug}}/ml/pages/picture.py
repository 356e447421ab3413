"""Pictures as inline SVG, and the only place that knows matplotlib; here too is what more than one page shows."""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ml.statistics.calibration import reliability

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes as Axes

CALM, PALE, STRONG, INK = "#8a94a6", "#c9d1d9", "#1f6feb", "#24292f"
GOOD, OPEN, BAD = "#1a7f37", "#bf8700", "#cf222e"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ml",
    "text.parse_math": False,  # a dollar in a category is a dollar
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "date.converter": "concise",  # the year once, and no date on another
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # no metadata: equal pictures are equal bytes


def picture(width: float, height: float) -> Callable[[Callable[..., None]], Callable[..., Markup]]:
    """Make a function that draws on axes return its drawing as SVG of the given size, in inches."""

    def make(draw: Callable[..., None]) -> Callable[..., Markup]:
        @wraps(draw)
        def run(*words: Any) -> Markup:
            with plt.rc_context(STYLE):
                figure, axes = plt.subplots(figsize=(width, height))
                draw(axes, *words)
                out = io.StringIO()
                figure.savefig(out, format="svg", metadata=NOTHING)
                plt.close(figure)
            return Markup(out.getvalue()[out.getvalue().index("<svg") :])

        return run

    return make


def as_high_as(inches: float) -> None:
    """Make the picture that is being drawn as high as its rows need."""
    plt.gcf().set_figheight(inches)


@picture(4.4, 3.2)
def calibration(axes: Axes, outcomes: NDArray[Any], scores: NDArray[np.float64], of: str) -> None:
    """Observed rate against mean score, in bins of equal mass; equal scores share a bin."""
    said, came = reliability(outcomes, scores)
    top = 1.1 * max(said.max(), came.max())
    axes.plot([0, top], [0, top], color=CALM, lw=1, ls="--", label="perfect")
    axes.plot(said, came, "o-", color=STRONG, label=of)
    axes.set(xlabel="mean score", ylabel="observed rate", xlim=(0, top), ylim=(0, top))
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.16))
