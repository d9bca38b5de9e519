"""Maps of a period: for each class, its share of every zone, or its objects there."""

import io
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import geopandas as gpd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from orthostat.errors import ReleaseError
from orthostat.statistics.schema import COUNT, MAP_COUNT, MISSING_STATUSES, STRATIFIED, Row

COLORMAP = "YlGnBu"
"""Sequential, readable with every common form of colour blindness."""
EMPTY: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.45", "hatch": "////", "linewidth": 0.0}
_LETTERS_PER_INCH = 7
"""Of a title."""
_PANEL_INCHES = 4.4
_MOST_LABELS = 30
_DARK = 0.6
"""From this share of the scale on, the colour is too dark for black letters."""
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_DENSITIES = tuple(step * 10.0**power for power in range(-3, 7) for step in (1, 2, 5))


def draw_map(rows: Sequence[Row], zones: gpd.GeoDataFrame, title: str) -> bytes:
    """A figure with one panel per class, as PNG; equal rows and zones give equal bytes.

    `rows` are one period's, with the column `release_id`. The figure shows estimates where the period
    publishes any, else counts, never both. Zones are shaded by the share of the class, and where objects are
    counted by their number per km2, beside the number itself: a shade by number would show the zones' sizes.
    `zones` have the columns zone_id, name, parent_id and
    geometry, in a projected system. Zones that are divided into others are left out.

    Raises ReleaseError when the zones lack one of the rows' ids.
    """
    has_estimates = any(row["method"] == STRATIFIED and row["area_m2"] is not None for row in rows)
    method = STRATIFIED if has_estimates else MAP_COUNT
    shown = [row for row in rows if row["method"] == method]
    leaves = select_leaves(zones, {row["zone_id"] for row in rows})
    classes = sorted({(row["class_id"], row["class_name"]) for row in rows})
    columns = math.ceil(math.sqrt(len(classes)))
    lines = math.ceil(len(classes) / columns)
    west, south, east, north = leaves.total_bounds
    height = _PANEL_INCHES * min(2.0, max(0.5, (north - south) / (east - west)))
    figure = Figure(
        figsize=(_PANEL_INCHES * columns + 0.6, (height + 1.1) * lines + 1.9), layout="compressed"
    )
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (class_id, class_name) in zip(axes, classes, strict=False):
        _draw_panel(axis, leaves, _Scale([row for row in shown if row["class_id"] == class_id]), class_name)
    for axis in axes[len(classes) :]:
        axis.set_axis_off()
    draw_scale_bar(figure.axes[0])
    if any(row["obs_status"] in MISSING_STATUSES for row in shown):
        empty = Patch(label="not published or not observed", **EMPTY)
        figure.legend(handles=[empty], loc="outside lower right", fontsize=9)
    simulated = any(row["is_simulated"] for row in shown)
    warning = "\nSIMULATED reference sample: not a statistic" if simulated else ""
    measured = "objects" if rows[0]["indicator"] == COUNT else "area"
    words = f"{title}: {measured} by class, {rows[0]['period']}"
    fitting = textwrap.fill(words, int(figure.get_figwidth() * _LETTERS_PER_INCH))
    figure.suptitle(f"{fitting}{warning}", fontsize=15, fontweight="bold")
    figure.supxlabel(_describe(shown, method, simulated, columns), fontsize=9, ha="left", x=0.01)
    return dump_png(figure)


def select_leaves(zones: gpd.GeoDataFrame, zone_ids: Iterable[str]) -> gpd.GeoDataFrame:
    """The zones that are not divided into others. Raises ReleaseError when one of `zone_ids` is unknown."""
    unknown = sorted(set(zone_ids) - set(zones["zone_id"]))
    if unknown:
        raise ReleaseError(
            f"the table has the zones {unknown[:5]}, which the zones file lacks: it was replaced after the "
            "tabulation; run the pipeline again"
        )
    return zones[~zones["zone_id"].isin(set(zones["parent_id"].dropna()))]


def dump_png(figure: Figure) -> bytes:
    """The figure as PNG without anything that changes from one writing to the next."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def label_zones(
    axis: Axes, zones: gpd.GeoDataFrame, labels: Mapping[str, str], dark: Collection[str] = ()
) -> None:
    """Write a label into every zone, in white into the `dark` ones; none where there are too many to read."""
    if len(zones) > _MOST_LABELS:
        return
    for zone_id, point in zip(zones["zone_id"], zones.representative_point(), strict=True):
        ink, halo = ("white", "0.15") if zone_id in dark else ("black", "white")
        text = axis.annotate(
            labels[zone_id], (point.x, point.y), ha="center", va="center", fontsize=7, color=ink
        )
        text.set_path_effects([withStroke(linewidth=2.2, foreground=halo, alpha=0.8)])


def draw_scale_bar(axis: Axes) -> None:
    """A bar of a round length, about a fifth of the width, below the map; the map's unit is the metre."""
    west, east = axis.get_xlim()
    wanted = (east - west) / 5
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    start = (east - west) * 0.02
    below = axis.get_xaxis_transform()
    ends = [west + start, west + start + length]
    (bar,) = axis.plot(ends, [-0.02, -0.02], transform=below, color="0.2", lw=3, clip_on=False)
    label = axis.text(ends[1] + start, -0.02, words, transform=below, fontsize=8, va="center")
    for artist in (bar, label):
        artist.set_in_layout(False)
    axis.set_xlim(west, east)


def frame_map(axis: Axes, title: str) -> None:
    """A map's axes: no ticks, equal scales, a title."""
    axis.set_aspect("equal")
    axis.set_axis_off()
    axis.set_title(title, fontsize=12)


class _Scale:
    """How the zones of one panel are shaded, and what is written into them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.is_count = any(row["indicator"] == COUNT for row in rows)
        self._is_estimate = any(row["method"] == STRATIFIED for row in rows)
        self.values = {row["zone_id"]: self._shade(row) for row in rows}
        self.words = {row["zone_id"]: self._write(row) for row in rows}
        highest = max([value for value in self.values.values() if value is not None], default=1.0)
        if self.is_count and highest == 0:
            highest = 1.0
        steps = _DENSITIES if self.is_count else _SCALES
        self.limit = next((step for step in steps if highest <= step), highest)

    @property
    def title(self) -> str:
        """What the shades are."""
        if self.is_count:
            return "objects per km2 of the zone's observed area"
        whole = "area (estimate)" if self._is_estimate else "observed area (pixel count)"
        return f"per cent of the zone's {whole}"

    def _shade(self, row: Row) -> float | None:
        """Per observed km2 for objects; of the zone for an estimate, of what was observed for pixels."""
        value = row["object_count"] if self.is_count else row["area_m2"]
        whole = row["zone_area_m2" if self._is_estimate else "valid_area_m2"] / (
            1e6 if self.is_count else 1.0
        )
        return None if value is None or not whole else float(value / whole)

    def _write(self, row: Row) -> str:
        value = self.values[row["zone_id"]]
        if value is None:
            return "not published"
        return f"{row['object_count']:,}" if self.is_count else f"{value:.1%}"


def _draw_panel(axis: Axes, zones: gpd.GeoDataFrame, scale: _Scale, title: str) -> None:
    values = zones["zone_id"].map(lambda zone_id: scale.values.get(zone_id)).astype("float64")
    published, empty = zones[values.notna()], zones[values.isna()]
    shades = Normalize(0, scale.limit)
    if len(published):
        published.plot(ax=axis, column=values.dropna(), cmap=COLORMAP, norm=shades)
    if len(empty):
        empty.plot(ax=axis, **EMPTY)
    zones.boundary.plot(ax=axis, color="0.15", linewidth=0.8)
    words = {
        zone_id: f"{name}\n{scale.words.get(zone_id, 'not published')}"
        for zone_id, name in zip(zones["zone_id"], zones["name"], strict=True)
    }
    dark = {zone_id for zone_id, value in scale.values.items() if value and value > _DARK * scale.limit}
    label_zones(axis, zones, words, dark)
    frame_map(axis, title)
    bar = axis.figure.colorbar(
        ScalarMappable(shades, COLORMAP), ax=axis, orientation="horizontal", shrink=0.8, aspect=30, pad=0.06
    )
    bar.set_label(f"{title}: {scale.title}", fontsize=9)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if not scale.is_count:
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if scale.limit >= 0.05 else 1))


def _describe(rows: Sequence[Row], method: str, is_simulated: bool, columns: int) -> str:
    sample = f"{'a SIMULATED' if is_simulated else 'the'} reference sample {rows[0]['sample_id']}"
    counted = "Object" if rows[0]["indicator"] == COUNT else "Pixel"
    words = {
        MAP_COUNT: f"{counted} counts (MAP_COUNT), experimental: not from a reference sample, no interval.",
        STRATIFIED: f"Stratified estimates (STRATIFIED) from {sample}; intervals are in the table.",
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
