"""Cells, boxes and polygons as GeoParquet, in the image's coordinate system."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import shapes

from orthostat.prediction.classes import NODATA, LabelClass
from orthostat.prediction.read import Image, crs_text


def write_boxes(
    path: Path,
    image: Image,
    corners: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    scores: NDArray[np.float64],
    classes: Sequence[LabelClass],
) -> None:
    """Write rectangles: `geometry`, `class_id`, `class_name`, `score`.

    `corners` has the shape (boxes, 4): top, left, bottom, right in pixels of the image, from the upper left
    corner of its first pixel.
    """
    import shapely

    top, left, bottom, right = corners.T
    rows = np.stack([top, top, bottom, bottom, top])
    columns = np.stack([left, right, right, left, left])
    a, b, c, d, e, f = tuple(image.transform)[:6]
    rings = np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=-1)
    geometry = shapely.polygons(rings.transpose(1, 0, 2)) if len(corners) else []
    write_geoparquet(
        path,
        image,
        geometry,
        {
            "class_id": class_ids.astype(np.int32),
            "class_name": np.array([c.name for c in classes], dtype=object)[class_ids.astype(int)],
            "score": scores.astype(np.float64),
        },
    )


def write_polygons(path: Path, image: Image, labels_path: Path, classes: Sequence[LabelClass]) -> None:
    """Write the outlines of the labelled areas of a class raster: `geometry`, `class_id`, `class_name`.

    The polygons are the pixels' own outlines: their areas are the raster's.
    """
    from shapely.geometry import shape

    with rasterio.open(labels_path) as dataset:
        band = rasterio.band(dataset, 1)
        found = [
            (shape(outline), int(value))
            for outline, value in shapes(band, transform=dataset.transform)
            if value != NODATA
        ]
    class_ids = np.array([value for _, value in found], np.int32)
    names = np.array([c.name for c in classes], dtype=object)[class_ids]
    write_geoparquet(path, image, [g for g, _ in found], {"class_id": class_ids, "class_name": names})


def write_geoparquet(path: Path, image: Image, geometry: Any, columns: dict[str, Any]) -> None:
    """One row per geometry, in the order given; no coordinate system when the image has no place on Earth."""
    import geopandas  # and pandas with it: half a second that class rasters need not wait

    crs = crs_text(image.crs) if image.is_placed else None
    frame = geopandas.GeoDataFrame(columns, geometry=list(geometry), crs=crs)
    frame.to_parquet(path, index=False, compression="zstd", geometry_encoding="WKB")
