"""Maps of a period: for each class, its share of every zone."""

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
from orthostat.statistics.schema import MAP_COUNT, STRATIFIED, Row

COLORMAP = "YlGnBu"
"""Sequential, readable with every common form of colour blindness."""
EMPTY: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.45", "hatch": "////", "linewidth": 0.0}
_PANEL_INCHES = 4.4
_MOST_LABELS = 30
_DARK = 0.6
"""From this share of the scale on, the colour is too dark for black letters."""
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def draw_map(rows: Sequence[Row], zones: gpd.GeoDataFrame, title: str) -> bytes:
    """A figure with one panel per class, as PNG; equal rows and zones give equal bytes.

    `rows` are one period's, with the column `release_id`. The figure shows estimates where the period
    publishes any, else pixel counts, never both. `zones` have the columns zone_id, name, parent_id and
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
        shares = _read_shares([row for row in shown if row["class_id"] == class_id], method)
        _draw_panel(axis, leaves, shares, class_name, method)
    for axis in axes[len(classes) :]:
        axis.set_axis_off()
    draw_scale_bar(figure.axes[0])
    figure.legend(
        handles=[Patch(label="not published or not observed", **EMPTY)], loc="outside lower right", fontsize=9
    )
    simulated = any(row["is_simulated"] for row in shown)
    warning = "\nSIMULATED reference sample: not a statistic" if simulated else ""
    figure.suptitle(f"{title}: area by class, {rows[0]['period']}{warning}", fontsize=15, fontweight="bold")
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


def _read_shares(rows: Sequence[Row], method: str) -> dict[str, float | None]:
    """Share of the class per zone: of the zone for an estimate, of what was observed for a pixel count."""
    whole = "zone_area_m2" if method == STRATIFIED else "valid_area_m2"
    return {
        row["zone_id"]: None
        if row["area_m2"] is None
        else row["area_m2"] / row[whole]
        if row[whole]
        else None
        for row in rows
    }


def _draw_panel(
    axis: Axes, zones: gpd.GeoDataFrame, shares: Mapping[str, float | None], title: str, method: str
) -> None:
    values = zones["zone_id"].map(lambda zone_id: shares.get(zone_id)).astype("float64")
    published, empty = zones[values.notna()], zones[values.isna()]
    highest = max([share for share in shares.values() if share is not None], default=1.0)
    limit = next((limit for limit in _SCALES if highest <= limit), 1.0)
    scale = Normalize(0, limit)
    if len(published):
        published.plot(ax=axis, column=values.dropna(), cmap=COLORMAP, norm=scale)
    if len(empty):
        empty.plot(ax=axis, **EMPTY)
    zones.boundary.plot(ax=axis, color="0.15", linewidth=0.8)
    words = {
        zone_id: f"{name}\n{'not published' if math.isnan(value) else f'{value:.1%}'}"
        for zone_id, name, value in zip(zones["zone_id"], zones["name"], values, strict=True)
    }
    dark = {zone_id for zone_id, share in shares.items() if share and share > _DARK * limit}
    label_zones(axis, zones, words, dark)
    frame_map(axis, title)
    whole = "zone's area (estimate)" if method == STRATIFIED else "zone's observed area (pixel count)"
    bar = axis.figure.colorbar(
        ScalarMappable(scale, COLORMAP), ax=axis, orientation="horizontal", shrink=0.8, aspect=30, pad=0.06
    )
    bar.set_label(f"{title}: per cent of the {whole}", fontsize=9)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if limit >= 0.05 else 1))


def _describe(rows: Sequence[Row], method: str, is_simulated: bool, columns: int) -> str:
    sample = f"{'a SIMULATED' if is_simulated else 'the'} reference sample {rows[0]['sample_id']}"
    words = {
        MAP_COUNT: "Pixel counts (MAP_COUNT), experimental: not from a reference sample, no interval.",
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
