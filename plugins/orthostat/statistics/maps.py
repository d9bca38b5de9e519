"""Maps of a period: for each class, its share of every zone, or its objects there, on one scale."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from orthostat.statistics.cartography import draw_scale_bar, dump_png, frame_map, label_zones, select_leaves
from orthostat.statistics.codes import COUNT, MAP_COUNT, STRATIFIED, Row

COLORMAP = "YlGnBu"
"""Sequential, readable with every common form of colour blindness."""
EMPTY: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.45", "hatch": "////", "linewidth": 0.0}
PARTLY: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.2", "hatch": "...", "linewidth": 0.0}
_LETTERS_PER_INCH = 7
"""Of a title."""
_PANEL_INCHES = 4.4
_DARK = 0.6
"""From this share of the scale on, the colour is too dark for black letters."""
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_DENSITIES = tuple(step * 10.0**power for power in range(-3, 7) for step in (1, 2, 5))
_MARGIN = 0.15
"""Around the zones that have a figure, as a share of their extent."""


def draw_map(
    rows: Sequence[Row], zones: gpd.GeoDataFrame, title: str, normal_coverage: float = 0.95
) -> bytes:
    """A figure with one panel per class, all on one scale, as PNG; equal rows and zones give equal bytes.

    `rows` are one period's, with the column `release_id`. The figure shows estimates with their intervals
    where the period publishes any, else counts, never both. Zones are shaded by the share of the class, and
    where objects are counted by their number per km2, beside the number itself: a shade by number would show
    the zones' sizes. Counts from less than `normal_coverage` of a zone are dotted. `zones` have the columns
    zone_id, name, parent_id and geometry, in a projected system. Zones that are divided into others are left
    out, and the view ends near the zones that have a figure.

    Raises ReleaseError when the zones lack one of the rows' ids.
    """
    has_estimates = any(row["method"] == STRATIFIED and row["area_m2"] is not None for row in rows)
    method = STRATIFIED if has_estimates else MAP_COUNT
    shown = [row for row in rows if row["method"] == method]
    leaves = select_leaves(zones, {row["zone_id"] for row in rows})
    scale = _Scale(shown, set(leaves["zone_id"]))
    west, south, east, north = _find_view(leaves, scale)
    classes = sorted({(row["class_id"], row["class_name"]) for row in rows})
    columns = math.ceil(math.sqrt(len(classes)))
    lines = math.ceil(len(classes) / columns)
    height = _PANEL_INCHES * min(2.0, max(0.5, (north - south) / (east - west)))
    size = (_PANEL_INCHES * columns + 0.6, (height + 0.5) * lines + 2.9)
    figure = Figure(figsize=size, layout="compressed")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (class_id, class_name) in zip(axes, classes, strict=False):
        axis.set_xlim(west, east)
        axis.set_ylim(south, north)
        panel = {row["zone_id"]: row for row in shown if row["class_id"] == class_id}
        _draw_panel(axis, leaves, panel, scale, normal_coverage)
        frame_map(axis, class_name)
    for axis in axes[len(classes) :]:
        axis.set_axis_off()
    draw_scale_bar(axes[0])
    _draw_scale(figure, axes, scale)
    simulated = any(row["is_simulated"] for row in shown)
    below = _describe(shown, method, simulated, columns)
    _draw_legend(figure, _explain(leaves, shown, scale, normal_coverage), below)
    warning = "\nSIMULATED reference sample: not a statistic" if simulated else ""
    measured = "objects" if rows[0]["indicator"] == COUNT else "area"
    words = f"{title}: {measured} by class, {rows[0]['period']}"
    fitting = textwrap.fill(words, int(figure.get_figwidth() * _LETTERS_PER_INCH))
    figure.suptitle(f"{fitting}{warning}", fontsize=15, fontweight="bold")
    return dump_png(figure)


class _Scale:
    """How zones are shaded in all panels of a page, and what is written into them."""

    def __init__(self, rows: Sequence[Row], zone_ids: set[str]) -> None:
        self.is_count = any(row["indicator"] == COUNT for row in rows)
        self.is_estimate = any(row["method"] == STRATIFIED for row in rows)
        shades = [self.shade(row) for row in rows if row["zone_id"] in zone_ids]
        highest = max([shade for shade in shades if shade is not None], default=1.0)
        if self.is_count and highest == 0:
            highest = 1.0
        steps = _DENSITIES if self.is_count else _SCALES
        self.limit = next((step for step in steps if highest <= step), highest)
        self.published = {row["zone_id"] for row in rows if self.shade(row) is not None}

    @property
    def title(self) -> str:
        """What the shades are."""
        if self.is_count:
            return "objects per km2 of the zone's observed area"
        return f"per cent of the zone's {'area' if self.is_estimate else 'observed area (pixel count)'}"

    def shade(self, row: Row) -> float | None:
        """Per observed km2 for objects; of the zone for an estimate, of what was observed for pixels."""
        value = row["object_count"] if self.is_count else row["area_m2"]
        whole = row["zone_area_m2" if self.is_estimate else "valid_area_m2"] / (1e6 if self.is_count else 1.0)
        return None if value is None or not whole else float(value / whole)

    def write(self, row: Row) -> str:
        """The figure in words, with its interval where it has one."""
        shade = self.shade(row)
        if shade is None:
            return ""
        if self.is_count:
            return f"{row['object_count']:,}"
        if row["ci_lower_m2"] is None:
            return f"{shade:.1%}"
        low, high = (row[name] / row["zone_area_m2"] for name in ("ci_lower_m2", "ci_upper_m2"))
        return f"{shade:.1%}\n({100 * low:.1f} to {100 * high:.1f})"


def _find_view(leaves: gpd.GeoDataFrame, scale: _Scale) -> tuple[float, float, float, float]:
    """West, south, east and north of the zones that have a figure, and a margin; of all where none has."""
    published = leaves[leaves["zone_id"].isin(scale.published)]
    bounds = np.array((published if len(published) else leaves).total_bounds)
    margin = _MARGIN * (bounds[2:] - bounds[:2]).max()
    west, south, east, north = np.concatenate(
        [
            np.maximum(bounds[:2] - margin, leaves.total_bounds[:2]),
            np.minimum(bounds[2:] + margin, leaves.total_bounds[2:]),
        ]
    ).tolist()
    return west, south, east, north


def _draw_panel(
    axis: Axes, zones: gpd.GeoDataFrame, rows: dict[str, Row], scale: _Scale, normal_coverage: float
) -> None:
    """One class: `rows` by zone id."""
    shades = {zone_id: scale.shade(row) for zone_id, row in rows.items()}
    values = zones["zone_id"].map(lambda zone_id: shades.get(zone_id)).astype("float64")
    published, empty = zones[values.notna()], zones[values.isna()]
    view: dict[str, Any] = {"ax": axis, "autolim": False}
    if len(published):
        published.plot(column=values.dropna(), cmap=COLORMAP, norm=Normalize(0, scale.limit), **view)
    if len(empty):
        empty.plot(**EMPTY, **view)
    partly = published[
        [_is_partly(rows[zone_id], scale, normal_coverage) for zone_id in published["zone_id"]]
    ]
    if len(partly):
        partly.plot(**PARTLY, **view)
    zones.boundary.plot(color="0.15", linewidth=0.8, **view)
    words = {
        zone_id: f"{name}\n{scale.write(rows[zone_id]) if zone_id in rows else ''}".strip()
        for zone_id, name in zip(zones["zone_id"], zones["name"], strict=True)
    }
    dark = {zone_id for zone_id, shade in shades.items() if shade and shade > _DARK * scale.limit}
    label_zones(axis, zones, words, dark)


def _is_partly(row: Row, scale: _Scale, normal_coverage: float) -> bool:
    """Whether a figure is from part of its zone; the map's coverage says nothing of an estimate."""
    return not scale.is_estimate and bool(row["coverage"] < normal_coverage)


def _draw_scale(figure: Figure, axes: Sequence[Axes], scale: _Scale) -> None:
    shades = ScalarMappable(Normalize(0, scale.limit), COLORMAP)
    bar = figure.colorbar(
        shades, ax=list(axes), orientation="horizontal", shrink=0.6, aspect=40, pad=0.03, location="bottom"
    )
    bar.set_label(scale.title, fontsize=9)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if not scale.is_count:
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if scale.limit >= 0.05 else 1))


def _explain(
    leaves: gpd.GeoDataFrame, rows: Sequence[Row], scale: _Scale, normal_coverage: float
) -> list[Patch]:
    """What the hatches mean that occur."""
    of_leaves = [row for row in rows if row["zone_id"] in set(leaves["zone_id"])]
    found = [row for row in of_leaves if scale.shade(row) is not None]
    entries = []
    if any(_is_partly(row, scale, normal_coverage) for row in found):
        entries.append(Patch(label=f"less than {normal_coverage:.0%} of the zone observed", **PARTLY))
    if len(found) < len(of_leaves):
        entries.append(Patch(label="not published or not observed", **EMPTY))
    return entries


def _draw_legend(figure: Figure, entries: Sequence[Patch], words: str) -> None:
    """The hatches' meanings and, below them, what there is to say; they make room for one another."""
    if entries:
        figure.legend(handles=entries, loc="outside lower left", fontsize=9, frameon=False, title=words)
        legend = figure.legends[0]
        legend.get_title().set_fontsize(9)
        legend.set_alignment("left")
    else:
        figure.supxlabel(words, fontsize=9, ha="left", x=0.01)


def _describe(rows: Sequence[Row], method: str, is_simulated: bool, columns: int) -> str:
    sample = f"{'a SIMULATED' if is_simulated else 'the'} reference sample {rows[0]['sample_id']}"
    counted = "Object" if rows[0]["indicator"] == COUNT else "Pixel"
    words = {
        MAP_COUNT: f"{counted} counts (MAP_COUNT), experimental: not from a reference sample, no interval.",
        STRATIFIED: f"Stratified estimates (STRATIFIED) from {sample}, with 95 % intervals.",
    }
    coverages = [row["coverage"] for row in rows]
    lines = [
        f"METHOD: {words[method]}",
        f"Observed share of the zones (coverage): {min(coverages):.1%} to {max(coverages):.1%}. "
        f"Scenes: {max(row['scene_count'] for row in rows)}.",
        f"Release {rows[0]['release_id']}. Boundaries {rows[0]['boundary_version']}. "
        f"Model {rows[0]['model_sha256'][:12]}.",
    ]
    return "\n".join(wrapped for line in lines for wrapped in textwrap.wrap(line, 62 * columns))
