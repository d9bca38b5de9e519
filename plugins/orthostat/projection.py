"""Coordinate systems, and whether areas may be measured in them."""

from typing import Any

import numpy as np
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

from orthostat.errors import GridError

MAX_AREAL_DISTORTION = 0.01
"""Areas measured on a grid may differ from true areas by this share; UTM stays below 0.0008 in its zone."""
_LATTICE = 9


def parse_crs(crs: Any) -> CRS:
    """Anything that pyproj understands, as a CRS. Raises GridError when it does not."""
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise GridError(f"'{crs}' is no coordinate system; write e.g. EPSG:32621") from error


def parse_projected(crs: Any) -> CRS:
    """A projected coordinate system in metres, in which a pixel has one area.

    Raises GridError for a geographic one, for one in feet, and for Web Mercator, which shows an area 2.0
    times too large at 45 degrees and 4.0 times at 60.
    """
    parsed = parse_crs(crs)
    refuse_web_mercator(parsed)
    if not parsed.is_projected:
        raise GridError(
            f"{parsed.name} is not projected; use an equal-area or local projected system, e.g. UTM"
        )
    if metres_per_unit(parsed) != 1.0:
        raise GridError(
            f"{parsed.name} is measured in units of {metres_per_unit(parsed)} m, a grid needs metres; "
            "use a projected system in metres, e.g. UTM"
        )
    return parsed


def refuse_web_mercator(crs: CRS) -> None:
    """Raises GridError for EPSG:3857 and its aliases."""
    operation = crs.coordinate_operation
    if operation is not None and "Pseudo Mercator" in operation.method_name:
        raise GridError(
            f"{crs.name} (Web Mercator) shows areas up to 4 times too large at 60 degrees; "
            "warp to an equal-area or local projected system, e.g. UTM"
        )


def metres_per_unit(crs: CRS) -> float:
    """Length of one unit of a projected system's first axis, in metres."""
    return float(crs.axis_info[0].unit_conversion_factor)


def check_areal_scale(crs: CRS, bounds: tuple[float, float, float, float]) -> None:
    """Check that a projected `crs` keeps areas within `bounds` (west, south, east, north, in its units).

    The areal scale (area on the map over true area; Snyder 1987, chapter 4) is computed on a lattice of 9 by
    9 points. Raises GridError for Web Mercator, where the system is undefined, and where the scale differs
    from 1 by more than MAX_AREAL_DISTORTION.
    """
    refuse_web_mercator(crs)
    west, south, east, north = bounds
    x, y = np.meshgrid(np.linspace(west, east, _LATTICE), np.linspace(south, north, _LATTICE))
    projection = Proj(crs)
    longitude, latitude = projection(x.ravel(), y.ravel(), inverse=True)
    scale = np.asarray(projection.get_factors(longitude, latitude).areal_scale, dtype=float)
    if not np.all(np.isfinite(scale)):
        raise GridError(
            f"{crs.name} is not defined everywhere in {bounds}; "
            "check the coordinates, or use a system made for this place, e.g. UTM"
        )
    worst = float(scale[np.argmax(np.abs(scale - 1))])
    if abs(worst - 1) > MAX_AREAL_DISTORTION:
        raise GridError(
            f"{crs.name} shows areas {worst:.4f} times their size in {bounds}; at most "
            f"{MAX_AREAL_DISTORTION:.0%} distortion is allowed; "
            "warp to an equal-area or local projected system, e.g. UTM"
        )
