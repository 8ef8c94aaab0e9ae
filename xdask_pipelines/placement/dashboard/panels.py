"""Panels by Region for Dask's dashboard, drawn with Bokeh.

Belongs here: a table and figures of samples and totals. Does not belong here: the page (regions_page), the numbers
(samples, totals).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, FactorRange, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure

from xdask_pipelines.placement.dashboard.samples import Load, Sample
from xdask_pipelines.system.safe_text import html
from xdask_pipelines.system.units import format_bytes

#: How many pairs of Regions have their own bar; all smaller pairs share one.
MAX_PAIRS = 10
_HEIGHT = 330
#: Colours that can be distinguished with colour blindness, and from the background.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_PALE = "#d0d0d0"
_SHORTEST_SECONDS = 60.0
#: Style of the table; in a narrow window each Region becomes a list of names and numbers.
TABLE_STYLE = """
table { font-size: 14px; border-spacing: 0 }
th, td { padding: 3px 18px 3px 0; text-align: right; font-variant-numeric: tabular-nums }
td:first-child { text-align: left; white-space: nowrap }
@media (max-width: 800px) {
  table, tbody { display: block }
  thead { display: none }
  tr { display: block; padding-bottom: 12px }
  td { display: flex; justify-content: space-between; width: 260px; padding: 1px 0 }
  td:first-child { display: block }
  td::before { content: attr(data-name) }
}
"""
#: Style of the figures: up to three side by side, as the width of the window allows.
FIGURES_STYLE = (
    ":host { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, max(340px, 30%)), 1fr)) }"
)
_COLUMNS = (
    "workers",
    "threads",
    "running",
    "waiting at workers",
    "waiting for the pool",
    "done since start",
    "read since start",
)


def colour(region: str, regions: Sequence[str]) -> str:
    """Return the colour of a Region, the same in all panels; black if it is not one of ``regions``."""
    return _COLOURS[list(regions).index(region) % len(_COLOURS)] if region in regions else "black"


def table(pools: Mapping[str, Load], read: Mapping[str, int], names: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return all pools and their sum as an HTML table; its squares are the legend of the lines."""
    rows = [
        (_square(colour(region, list(pools))) + html(_with_name(region, names)), _cells(load, read.get(region, 0)))
        for region, load in pools.items()
    ]
    total = Load(*(sum(column) for column in zip(*(vars(load).values() for load in pools.values()), strict=True)))
    rows.append(("<b>all Regions</b>", _cells(total, sum(read.values()))))
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f'<td data-name="{column}">{cell}</td>' for column, cell in zip(_COLUMNS, cells, strict=True))
        + "</tr>"
        for name, cells in rows
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _with_name(region: str, names: Mapping[str, str]) -> str:
    return f"{region} ({names[region]})" if region in names else region


def _square(filled: str) -> str:
    return f'<span style="color: {filled}; font-size: 18px">&#9632;</span>&nbsp;'


def _cells(load: Load, read: int) -> list[str]:
    counts = (load.workers, load.threads, load.running, load.processing - load.running, load.waiting, load.done)
    return [*(f"{n:,}" for n in counts), format_bytes(read)]


class Lines:
    """One number of each Region over the last minutes.

    Parameters
    ----------
    title
        Title of the figure.
    number
        Returns the number from a pool's load.
    """

    def __init__(self, title: str, number: Callable[[Load], int]) -> None:
        self._number = number
        self._source = ColumnDataSource({"x": [], "y": [], "region": [], "colour": [], "width": [], "now": []})
        self._times, self._top = Range1d(start=_SHORTEST_SECONDS, end=0), Range1d(start=0, end=1)
        self.figure = _figure(Title(text=title), x_range=self._times, y_range=self._top)
        self.figure.multi_line("x", "y", line_color="colour", line_width="width", source=self._source)
        self.figure.add_tools(HoverTool(tooltips=[("Region", "@region"), ("now", "@now{0,0}")]))
        self.figure.xaxis.axis_label = "seconds ago"
        self.figure.xaxis.ticker = BasicTicker(mantissas=[1, 2, 3, 6], base=10)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0")
        _whole_numbers(self.figure.yaxis)

    def update(self, samples: Sequence[Sample]) -> None:
        """Draw the samples; the last one is the current state."""
        now, nothing = samples[-1], Load()
        times = [now.seconds - sample.seconds for sample in samples]
        lines = [[self._number(s.pools.get(region, nothing)) for s in samples] for region in now.pools]
        regions = list(now.pools)
        self._times.start = max(_SHORTEST_SECONDS, times[0])
        self._top.end = max(1, max((max(line) for line in lines), default=0) * 1.1)
        self._source.data = {
            "x": [times] * len(regions),
            "y": lines,
            "region": regions,
            "colour": [colour(region, regions) for region in regions],
            "width": [2 + 3 * (len(regions) - 1 - i) / len(regions) for i in range(len(regions))],  # equal lines show
            "now": [line[-1] for line in lines],
        }


class BacklogBars:
    """The backlog of each pool: one bar for each Region, in three parts."""

    _PARTS = ("running", "waiting at workers", "waiting for the pool")
    _SHADES = ("#444444", "#a0a0a0", "#c00000")

    def __init__(self) -> None:
        self._source = ColumnDataSource({"region": [], **{part: [] for part in self._PARTS}})
        self._regions, self._end = FactorRange(), Range1d(start=0, end=1)
        self.figure = _figure(Title(text="Backlog of each pool, tasks"), x_range=self._end, y_range=self._regions)
        self.figure.hbar_stack(
            self._PARTS,
            y="region",
            height=0.6,
            color=self._SHADES,
            line_color=None,
            legend_label=list(self._PARTS),
            source=self._source,
        )
        self.figure.add_tools(HoverTool(tooltips=[("Region", "@region"), ("$name", "@$name{0,0}")]))
        self.figure.add_layout(self.figure.legend[0], "below")
        self.figure.legend.orientation = "vertical"  # horizontally the three entries are wider than a narrow window
        self.figure.legend[0].update(padding=0, spacing=0)
        self.figure.legend.border_line_color = None
        self.figure.legend.background_fill_color = None
        self.figure.ygrid.visible = False
        _whole_numbers(self.figure.xaxis)

    def update(self, pools: Mapping[str, Load]) -> None:
        """Draw the current backlog of the pools."""
        parts = [(load.running, load.processing - load.running, load.waiting) for load in pools.values()]
        self._regions.factors = list(reversed(list(pools)))
        self._end.end = max(1, max(map(sum, parts), default=0) * 1.1)
        self._source.data = {
            "region": list(pools),
            **{name: [part[i] for part in parts] for i, name in enumerate(self._PARTS)},
        }


class Across:
    """Bytes that crossed from one Region to another since the scheduler started: a bar for each pair, and the total."""

    def __init__(self) -> None:
        self._source = ColumnDataSource({"pair": [], "nbytes": [], "label": [], "colour": []})
        self._pairs, self._end = FactorRange(), Range1d(start=0, end=1)
        self._title = Title()
        self.figure = _figure(self._title, x_range=self._end, y_range=self._pairs)
        self.figure.hbar(y="pair", right="nbytes", height=0.6, color="colour", source=self._source)
        self.figure.text(
            "nbytes", "pair", "label", x_offset=6, text_baseline="middle", text_font_size="13px", source=self._source
        )
        self.figure.add_tools(HoverTool(tooltips=[("@pair", "@nbytes{0,0} bytes")]))
        self.figure.grid.visible = False
        self.figure.xaxis.visible = False

    def update(self, across: Mapping[str, int], regions: Sequence[str]) -> None:
        """Draw the bytes by ``"src->dst"``, each bar in the colour of its source."""
        bars = ranked(across)
        total = sum(across.values())
        self._title.text = f"Across Regions: {format_bytes(total)}"  # a longer title is cut in a narrow window
        if bars:
            bars["total"] = total
        self._pairs.factors = list(reversed(bars))
        self._end.end = max(1, total * 1.35)  # room for the label
        self._source.data = {
            "pair": list(bars),
            "nbytes": list(bars.values()),
            "label": [format_bytes(n) for n in bars.values()],
            "colour": [_PALE if name == "total" else colour(name.split(" ")[0], regions) for name in bars],
        }


def ranked(across: Mapping[str, int]) -> dict[str, int]:
    """Return the largest pairs first, and the sum of all others."""
    largest = sorted(across.items(), key=lambda item: -item[1])
    shown = {pair.replace("->", " → "): n for pair, n in largest[:MAX_PAIRS]}
    if rest := largest[MAX_PAIRS:]:
        shown[f"{len(rest)} other pairs"] = sum(n for _, n in rest)
    return shown


def _figure(title: Title, **options: Any) -> figure:
    title.text_font_size = "15px"
    options |= {"tools": "", "toolbar_location": None, "sizing_mode": "stretch_width"}
    drawn = figure(title=title, height=_HEIGHT, **options)
    drawn.axis.major_label_text_font_size = "12px"
    drawn.axis.axis_label_text_font_size = "12px"
    drawn.outline_line_color = None
    return drawn


def _whole_numbers(axis: Any) -> None:
    axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
    axis.formatter = NumeralTickFormatter(format="0,0")
    axis.minor_tick_line_color = None
