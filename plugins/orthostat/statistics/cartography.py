"""What the maps of a release have in common: zones, labels that do not collide, a bar of scale, a frame."""

import io
import math
from collections.abc import Collection, Iterable, Mapping

import geopandas as gpd
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from orthostat.errors import ReleaseError

_DPI = 110
_LABEL = "zone label"
"""Marks what may be hidden where it would lie on another label."""


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
    """The figure as PNG without anything that changes from one writing to the next.

    Labels of zones that would lie on one another are left out, those of smaller zones first.
    """
    FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is laid out; writing would do so once more
    for axis in figure.axes:
        _hide_collisions(axis)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def label_zones(
    axis: Axes, zones: gpd.GeoDataFrame, labels: Mapping[str, str], dark: Collection[str] = ()
) -> None:
    """Write a label into every zone of the axis' view, in white into the `dark` ones; largest zones first."""
    west, east, south, north = (*axis.get_xlim(), *axis.get_ylim())
    shown = zones.clip(shapely.box(west, south, east, north)).assign(size=lambda clipped: clipped.area)
    shown = shown[shown.geom_type.isin(["Polygon", "MultiPolygon"])].sort_values(["size", "zone_id"])[::-1]
    for zone_id, point in zip(shown["zone_id"], shown.representative_point(), strict=True):
        ink, halo = ("white", "0.15") if zone_id in dark else ("black", "white")
        text = axis.annotate(
            labels[zone_id], (point.x, point.y), ha="center", va="center", fontsize=7, color=ink, gid=_LABEL
        )
        text.set_path_effects([withStroke(linewidth=2.2, foreground=halo, alpha=0.8)])
        text.set_in_layout(False)


def _hide_collisions(axis: Axes) -> None:
    """Leave out the name, or else all, of labels that reach over one written before, or out of the axis."""
    inside = axis.get_window_extent()
    kept: list[Bbox] = []
    for text in axis.texts:
        if isinstance(text, Annotation) and text.get_gid() == _LABEL:
            for words in (text.get_text(), text.get_text().partition("\n")[2]):
                text.set_text(words)
                box = text.get_window_extent()
                if words and _holds(inside, box) and not any(box.overlaps(other) for other in kept):
                    kept.append(box)
                    break
            else:
                text.set_visible(False)


def _holds(outer: Bbox, inner: Bbox) -> bool:
    is_across = outer.x0 <= inner.x0 and inner.x1 <= outer.x1
    return bool(is_across and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)


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
