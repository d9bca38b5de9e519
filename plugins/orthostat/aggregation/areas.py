"""True areas of pixels and polygons, in one measure per coordinate system.

In a projected system the measure is the plane's, and the system must keep areas where it is used. In a
geographic one it is the ellipsoid's, under edges that are straight in longitude and latitude.
"""

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS

from orthostat.errors import GridError
from orthostat.projection import check_areal_scale, metres_per_unit

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def check_measurable(crs: CRS, bounds: Bounds) -> None:
    """Raises GridError when areas cannot be measured in `crs` within `bounds` (west, south, east, north)."""
    if crs.is_projected:
        check_areal_scale(crs, bounds)
    elif not crs.is_geographic:
        raise GridError(f"{crs.name} is neither projected nor geographic; warp the raster, e.g. to UTM")
    elif bounds[1] * _radians(crs) < -np.pi / 2 - 1e-9 or bounds[3] * _radians(crs) > np.pi / 2 + 1e-9:
        raise GridError(
            f"the raster spans latitudes {bounds[1]} to {bounds[3]}, the limit is 90 degrees; crop it"
        )


def measure_rows(crs: CRS, transform: Affine, rows: int) -> Floats:
    """Area of one pixel in each of `rows` rows, in m2, float64 of shape (rows,)."""
    if crs.is_projected:
        return np.full(rows, abs(transform.a * transform.e) * metres_per_unit(crs) ** 2)
    latitudes: Floats = (transform.f + transform.e * np.arange(rows + 1, dtype=np.float64)) * _radians(crs)
    return abs(transform.a) * _radians(crs) * np.abs(np.diff(_area_north_of_equator(crs, latitudes)))


def measure_polygons(crs: CRS, polygons: npt.NDArray[np.object_]) -> Floats:
    """Area of each polygon, in m2, float64 of shape (n,).

    On the ellipsoid by Green's theorem: the integral of A(latitude) d(longitude) around each ring, where A is
    the area between the equator and a latitude per radian; 12-point Gauss-Legendre along each edge.
    """
    if crs.is_projected:
        return np.asarray(shapely.area(polygons) * metres_per_unit(crs) ** 2, dtype=np.float64)
    parts, owner_of_part = shapely.get_parts(polygons, return_index=True)
    rings, part_of_ring = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring_of_point[1:] == ring_of_point[:-1]
    start = points[:-1][is_edge] * _radians(crs)
    end = points[1:][is_edge] * _radians(crs)
    middle, half = (start[:, 1] + end[:, 1]) / 2, (end[:, 1] - start[:, 1]) / 2
    heights = _area_north_of_equator(crs, middle[:, None] + half[:, None] * _NODES) @ (_WEIGHTS / 2)
    signed = (start[:, 0] - end[:, 0]) * heights
    owner = owner_of_part[part_of_ring[ring_of_point[:-1][is_edge]]]
    return np.bincount(owner, weights=signed, minlength=len(polygons)).astype(np.float64)


def split_rows(crs: CRS, transform: Affine) -> int:
    """Into how many sub-rows a pixel row is cut before its border pixels are shared among zones.

    A border pixel's area is shared by its planar coverage. On the ellipsoid that is off by tan(latitude) / 4
    times the row's height in radians, so rows taller than 2e-5 radians (130 m) are cut.
    """
    return 1 if crs.is_projected else int(np.ceil(abs(transform.e) * _radians(crs) / 2e-5))


def _area_north_of_equator(crs: CRS, latitudes: Floats) -> Floats:
    """Area between the equator and each latitude, per radian of longitude, in m2: a2 q / 2.

    q is Snyder 1987 ("Map Projections: A Working Manual", USGS PP 1395), equation 3-12.
    """
    ellipsoid = crs.get_geod()
    if ellipsoid is None:
        raise GridError(f"{crs.name} has no ellipsoid; warp the raster, e.g. to UTM")
    sine = np.sin(latitudes)
    if ellipsoid.es == 0:
        return np.asarray(ellipsoid.a**2 * sine, dtype=np.float64)
    e = np.sqrt(ellipsoid.es)
    q = (1 - e**2) * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    return np.asarray(ellipsoid.a**2 / 2 * q, dtype=np.float64)


def _radians(crs: CRS) -> float:
    """Radians in one unit of a geographic system's axes."""
    return float(crs.axis_info[0].unit_conversion_factor)
