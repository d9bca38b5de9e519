"""Coordinate systems, and whether areas may be measured in them."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

from orthostat.errors import GridError

_LATTICE = 9


def parse_crs(crs: Any) -> CRS:
    """Anything that pyproj understands, as a CRS. Raises GridError when it does not."""
    try:
        return _parse(crs) if isinstance(crs, str) else CRS.from_user_input(crs)
    except CRSError as error:
        raise GridError(f"'{crs}' is no coordinate system; write e.g. EPSG:32621") from error


@lru_cache(1000)
def _parse(crs: str) -> CRS:
    """A CRS is immutable, and making one takes a while."""
    return CRS.from_user_input(crs)


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


def areal_scale(crs: CRS, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area on the map over true area (Snyder 1987, chapter 4) at places of a projected system, shape (n,).

    Raises GridError where the system is not defined.
    """
    projection = Proj(crs)
    longitude, latitude = projection(x, y, inverse=True)
    scale = np.asarray(projection.get_factors(longitude, latitude).areal_scale, dtype=np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        raise GridError(
            f"{crs.name} is not defined everywhere in {bounds}; "
            "check the coordinates, or use a system made for this place, e.g. UTM"
        )
    return scale


def check_defined(crs: CRS, bounds: tuple[float, float, float, float]) -> None:
    """Raises GridError for Web Mercator, and where `crs` is not defined on a lattice of 9 by 9 points.

    `bounds` are west, south, east, north, in units of `crs`. How much the projection distorts areas does not
    matter: every pixel is measured by its areal scale.
    """
    refuse_web_mercator(crs)
    west, south, east, north = bounds
    x, y = np.meshgrid(np.linspace(west, east, _LATTICE), np.linspace(south, north, _LATTICE))
    areal_scale(crs, x.ravel(), y.ravel())
