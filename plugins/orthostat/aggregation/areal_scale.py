"""How large a projection shows the ground, as a polynomial that pixels and polygons are measured by."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from numpy.polynomial import chebyshev
from pyproj import CRS

from orthostat.errors import GridError
from orthostat.projection import areal_scale

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]
_SIZES = (6, 12, 24, 48)
"""Lattices that are tried, so many points to a side."""
_PRECISION = 1e-8
"""Share of the scale that may be left out; what PROJ says of it is right to 1e-9."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_PIECES = 8
"""An edge is cut into pieces of at most this part of the polynomial's extent."""


@dataclass(frozen=True)
class InverseScale:
    """True area over area on the map: a Chebyshev series in x and y within bounds."""

    bounds: Bounds
    coefficients: Floats
    """Shape (degrees in y, degrees in x)."""

    def on_lattice(self, columns: int, rows: int) -> Floats:
        """Its mean in each cell of so many columns and rows between the bounds.

        Shape (rows, columns), south first, or (1, 1) where it is constant.
        """
        if self.coefficients.size == 1:
            return self.coefficients
        degree_y, degree_x = (size - 1 for size in self.coefficients.shape)
        values: Floats = _means(rows, degree_y) @ self.coefficients @ _means(columns, degree_x).T
        return values

    def integrate(self, polygons: npt.NDArray[np.object_]) -> Floats:
        """Its integral over each polygon, in squared units of the map, shape (n,).

        By Green's theorem: its integral over x, times dy, around each ring; 4-point Gauss-Legendre.
        """
        if self.coefficients.size == 1:
            return np.asarray(shapely.area(polygons) * self.coefficients[0, 0], dtype=np.float64)
        west, south, east, north = self.bounds
        centre = np.array([west + east, south + north]) / 2
        half = np.array([east - west, north - south]) / 2
        owner, start, end = _cut(*edges_of(polygons), 2 * half.max() / _PIECES)
        start, end = (start - centre) / half, (end - centre) / half
        over_x = chebyshev.chebint(self.coefficients, axis=1)
        heights = np.zeros(len(owner))
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            x, y = (start + (end - start) * (node + 1) / 2).T
            heights += weight / 2 * chebyshev.chebval2d(y, x, over_x)
        signed = heights * (end - start)[:, 1]
        total = np.bincount(owner, weights=signed, minlength=len(polygons))
        return np.asarray(total * half[0] * half[1], dtype=np.float64)


def _means(cells: int, degree: int) -> Floats:
    """Means of the Chebyshev polynomials in each of so many cells from -1 to 1: shape (cells, degree + 1).

    Gauss-Legendre with two points, which is exact for a cubic: a pixel may be a large part of the map.
    """
    centres = (2 * np.arange(cells) + 1) / cells - 1
    reach = 1 / cells / np.sqrt(3)
    left, right = (chebyshev.chebvander(centres + side * reach, degree) for side in (-1, 1))
    return np.asarray((left + right) / 2, dtype=np.float64)


def fit_inverse_scale(crs: CRS, bounds: Bounds) -> InverseScale:
    """The inverse of a projected system's areal scale within `bounds` (west, south, east, north).

    Raises GridError where the system is not defined, or so uneven that no series of 48 terms follows it.
    """
    for size in _SIZES:
        coefficients = _interpolate(crs, bounds, size)
        said = np.abs(coefficients) / np.abs(coefficients[0, 0])
        if max(said[-2:].max(), said[:, -2:].max()) < _PRECISION:
            last = np.argwhere(said >= _PRECISION / 10).max(axis=0)
            return InverseScale(bounds, coefficients[: last[0] + 1, : last[1] + 1])
    raise GridError(
        f"{crs.name} shows areas too unevenly in {tuple(bounds)} to measure them there; "
        "use a system made for this place, e.g. UTM"
    )


def _interpolate(crs: CRS, bounds: Bounds, size: int) -> Floats:
    """Chebyshev coefficients through a lattice of size x size points."""
    west, south, east, north = bounds
    nodes = chebyshev.chebpts1(size)
    x, y = np.meshgrid(west + (east - west) * (nodes + 1) / 2, south + (north - south) * (nodes + 1) / 2)
    values = 1 / areal_scale(crs, x.ravel(), y.ravel()).reshape(size, size)
    basis = chebyshev.chebvander(nodes, size - 1)
    norm = np.full(size, 2 / size)
    norm[0] /= 2
    coefficients: Floats = (norm[:, None] * basis.T) @ values @ (basis * norm)
    return coefficients


def _cut(
    owner: npt.NDArray[np.intp], start: Floats, end: Floats, step: float
) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
    """Edges cut into equal pieces of at most `step`."""
    pieces = np.maximum(1, np.ceil(np.hypot(*(end - start).T) / step)).astype(np.int64)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share, way = number / np.repeat(pieces, pieces), np.repeat((end - start).T, pieces, axis=1)
    first = np.repeat(start.T, pieces, axis=1)
    last = first + (share + 1 / np.repeat(pieces, pieces)) * way
    return np.repeat(owner, pieces), (first + share * way).T, last.T


def edges_of(polygons: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
    """Edges of polygons' rings, holes the other way round: owner (n,), and first and last points (n, 2)."""
    parts, owner_of_part = shapely.get_parts(polygons, return_index=True)
    rings, part_of_ring = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring_of_point[1:] == ring_of_point[:-1]
    owner = owner_of_part[part_of_ring[ring_of_point[:-1][is_edge]]]
    return owner, points[:-1][is_edge], points[1:][is_edge]
