"""True areas of pixels and polygons: on the ellipsoid of their coordinate system, whichever that is.

In a geographic system edges are straight in longitude and latitude, in a projected one in its plane, where a
pixel's area is that of the plane divided by the projection's areal scale.
"""

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS

from orthostat.aggregation.areal_scale import edges_of, fit_inverse_scale
from orthostat.errors import GridError
from orthostat.projection import check_defined, metres_per_unit

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_NEAR_M = 300_000.0


def check_measurable(crs: CRS, bounds: Bounds) -> None:
    """Raises GridError when areas cannot be measured in `crs` within `bounds` (west, south, east, north)."""
    if crs.is_projected:
        check_defined(crs, bounds)
    elif not crs.is_geographic:
        raise GridError(f"{crs.name} is neither projected nor geographic; warp the raster, e.g. to UTM")
    elif bounds[1] * _radians(crs) < -np.pi / 2 - 1e-9 or bounds[3] * _radians(crs) > np.pi / 2 + 1e-9:
        raise GridError(
            f"the raster spans latitudes {bounds[1]} to {bounds[3]}, the limit is 90 degrees; crop it"
        )


def measure_pixels(crs: CRS, transform: Affine, rows: int, columns: int) -> Floats:
    """Area of each pixel in m2, float64 of shape (rows, columns), or (rows, 1) or (1, 1) where all are equal.

    Raises GridError where the projection is not defined, or too uneven to be measured.
    """
    if crs.is_projected:
        west, north = transform * (0, 0)
        east, south = transform * (columns, rows)
        plane_m2 = abs(transform.a * transform.e) * metres_per_unit(crs) ** 2
        means = fit_inverse_scale(crs, (west, min(south, north), east, max(south, north))).on_lattice(
            columns, rows
        )
        return plane_m2 * (means[::-1] if transform.e < 0 else means)
    latitudes: Floats = (transform.f + transform.e * np.arange(rows + 1, dtype=np.float64)) * _radians(crs)
    heights = np.abs(np.diff(_area_north_of_equator(crs, latitudes)))
    areas: Floats = (abs(transform.a) * _radians(crs) * heights)[:, None]
    return areas


def measure_polygons(crs: CRS, polygons: npt.NDArray[np.object_]) -> Floats:
    """Area of each polygon on the ellipsoid, in m2, float64 of shape (n,).

    In a geographic system by Green's theorem: the integral of A(latitude) d(longitude) around each ring,
    where A is the area between the equator and a latitude per radian; 12-point Gauss-Legendre along each
    edge. In a projected one the plane's area is integrated over 1 / areal scale. Raises GridError as
    measure_pixels does.
    """
    if crs.is_projected:
        areas, is_there = np.zeros(len(polygons)), ~shapely.is_empty(polygons)
        if is_there.any():
            areas[is_there] = _measure_in_plane(crs, polygons[is_there])
        return areas
    owner, start, end = edges_of(polygons)
    start, end = start * _radians(crs), end * _radians(crs)
    middle, half = (start[:, 1] + end[:, 1]) / 2, (end[:, 1] - start[:, 1]) / 2
    heights = _area_north_of_equator(crs, middle[:, None] + half[:, None] * _NODES) @ (_WEIGHTS / 2)
    signed = (start[:, 0] - end[:, 0]) * heights
    return np.bincount(owner, weights=signed, minlength=len(polygons)).astype(np.float64)


def _measure_in_plane(crs: CRS, polygons: npt.NDArray[np.object_]) -> Floats:
    """Neighbours share one polynomial of the scale; where they are far apart each has its own."""
    west, south, east, north = (float(bound) for bound in shapely.total_bounds(polygons))
    unit = metres_per_unit(crs) ** 2
    if max(east - west, north - south) <= _NEAR_M / metres_per_unit(crs):
        scale = fit_inverse_scale(crs, (west, south, east, north))
        return unit * scale.integrate(polygons)
    return unit * np.concatenate(
        [fit_inverse_scale(crs, shapely.bounds(p)).integrate(np.array([p])) for p in polygons]
    )


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
