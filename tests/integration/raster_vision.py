"""What the command `rastervision predict` gives for an image, in this process, in torch or in ONNX mode."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Boxes:
    """Cells or objects in pixels of the image, and their classes and scores."""

    corners: NDArray[np.float64]
    """Shape (boxes, 4): top, left, bottom, right."""
    class_ids: list[int]
    scores: NDArray[np.float64]
    """Of the class; for cells all scores, shape (cells, classes)."""


def predict(bundle: Path, image: Path, output: Path, **options: Any) -> Path:
    """Run its Predictor (core/cli.py does no more); `options` are the command's."""
    from rastervision.core.predictor import Predictor

    scratch = output.parent / f"{output.name}-scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    Predictor(str(bundle), str(scratch), **options).predict([str(image)], str(output))
    return output


def read_labels(folder: Path) -> NDArray[np.uint8]:
    """The class raster that either program wrote."""
    with rasterio.open(folder / "labels.tif") as dataset:
        labels: NDArray[np.uint8] = dataset.read(1)
        return labels


def read_boxes(path: Path, image: Path) -> Boxes:
    """The GeoJSON that Raster Vision writes, back in pixels of the image.

    It cuts off fractions of pixels and writes the places of pixels' centres (crs_transformer).
    """
    from rasterio.warp import transform

    features = json.loads(path.read_text())["features"]
    with rasterio.open(image) as dataset:
        to_pixels, crs = ~dataset.transform, dataset.crs
    corners = []
    for feature in features:
        longitudes, latitudes = zip(*feature["geometry"]["coordinates"][0], strict=True)
        xs, ys = transform("EPSG:4326", crs, longitudes, latitudes)
        pixels = [to_pixels * place for place in zip(xs, ys, strict=True)]
        columns, rows = (np.array([p[i] for p in pixels]) - 0.5 for i in (0, 1))
        corners.append((rows.min(), columns.min(), rows.max(), columns.max()))
    properties = [feature["properties"] for feature in features]
    scores = [entry.get("score", entry.get("scores")) for entry in properties]
    return Boxes(
        np.array(corners, np.float64).reshape(-1, 4),
        [entry["class_id"] for entry in properties],
        np.array(scores, np.float64),
    )


def read_geoparquet(path: Path, image: Path) -> Boxes:
    """Our boxes, back in pixels of the image."""
    import geopandas as gpd

    frame = gpd.read_parquet(path)
    with rasterio.open(image) as dataset:
        to_pixels = ~dataset.transform
        assert frame.crs == dataset.crs
    corners = []
    for west, south, east, north in frame.bounds.to_numpy():
        (left, top), (right, bottom) = to_pixels * (west, north), to_pixels * (east, south)
        corners.append((top, left, bottom, right))
    return Boxes(
        np.array(corners, np.float64).reshape(-1, 4),
        frame["class_id"].tolist(),
        frame["score"].to_numpy(),
    )
