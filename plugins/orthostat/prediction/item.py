"""The STAC Item of a prediction: what is known of it without opening its pixels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pystac
from rasterio.warp import transform_geom

from orthostat import storage
from orthostat.errors import StorageError

NODATA = 255
_READERS = 16
_MULTIHASH_SHA256 = "1220"
_EXTENSIONS = [
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]


@dataclass(frozen=True)
class LabelClass:
    """A class of the model."""

    class_id: int
    name: str
    color: str
    """Six hexadecimal digits, RRGGBB."""


@dataclass(frozen=True)
class Prediction:
    """A committed prediction and its facts."""

    scene_id: str
    labels_href: str
    """URI of the class raster: uint8 class ids, nodata 255."""
    labels_sha256: str
    """Digest of the class raster's bytes: equal labels give equal statistics."""
    acquired: datetime
    crs: str
    """Of the labels as written; `EPSG:code`, else WKT."""
    shape: tuple[int, int]
    """Rows and columns of the labels as written."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f from (column, row) to (x, y)."""
    classes: tuple[LabelClass, ...]
    histogram: dict[int, int]
    """Valid pixels per class id."""
    valid_fraction: float
    """Share of the pixels that hold data."""
    value_ranges: tuple[tuple[float, float] | None, ...]
    """Smallest and largest valid value of each band of the image; None for a band without one."""
    model_sha256: str
    options: dict[str, Any]
    source_uri: str
    source_etag: str
    source_last_modified: datetime
    source_crs: str
    """Of the image, to be held against the labels' own `crs`."""
    source_shape: tuple[int, int]
    """Rows and columns of the image, to be held against the labels' own `shape`."""
    code_version: str
    software: dict[str, str]
    """Versions of what computed the labels."""
    cloud_cover_pct: float | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in `crs`."""
        rows, columns = self.shape
        a, b, c, d, e, f = self.transform
        xs = [c, c + a * columns, c + b * rows, c + a * columns + b * rows]
        ys = [f, f + d * columns, f + e * rows, f + d * columns + e * rows]
        return min(xs), min(ys), max(xs), max(ys)

    def to_stac(self) -> dict[str, Any]:
        """The Item as JSON (STAC 1.1 with proj, raster, classification and processing fields)."""
        west, south, east, north = self.bounds
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        geometry = transform_geom(
            self.crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, precision=7
        )
        longitudes, latitudes = zip(*(point[:2] for point in geometry["coordinates"][0]), strict=True)
        item = pystac.Item(
            id=self.scene_id,
            geometry={"type": "Polygon", "coordinates": [[list(p) for p in geometry["coordinates"][0]]]},
            bbox=[min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
            datetime=self.acquired,
            properties=self._properties(),
            stac_extensions=_EXTENSIONS,
        )
        item.add_asset("labels", self._asset())
        result: dict[str, Any] = item.to_dict(include_self_link=False)
        return result

    def _properties(self) -> dict[str, Any]:
        code = (
            {"proj:code": self.crs}
            if self.crs.startswith("EPSG:")
            else {"proj:code": None, "proj:wkt2": self.crs}
        )
        cloud = {} if self.cloud_cover_pct is None else {"eo:cloud_cover": self.cloud_cover_pct}
        return {
            **code,
            **cloud,
            "proj:shape": list(self.shape),
            "proj:transform": list(self.transform),
            "processing:level": "L4",
            "processing:lineage": f"semantic segmentation of {self.source_uri}",
            "processing:software": self.software,
            "processing:version": self.code_version,
            "orthostat:model_sha256": self.model_sha256,
            "orthostat:options": self.options,
            "orthostat:source_uri": self.source_uri,
            "orthostat:source_etag": self.source_etag,
            "orthostat:source_last_modified": self.source_last_modified.isoformat(),
            "orthostat:source_crs": self.source_crs,
            "orthostat:source_shape": list(self.source_shape),
            "orthostat:histogram": {str(class_id): pixels for class_id, pixels in self.histogram.items()},
            "orthostat:valid_fraction": self.valid_fraction,
            "orthostat:value_ranges": [pair and list(pair) for pair in self.value_ranges],
        }

    def _asset(self) -> pystac.Asset:
        return pystac.Asset(
            href=self.labels_href,
            media_type=pystac.MediaType.COG,
            roles=["data"],
            extra_fields={
                "file:checksum": f"{_MULTIHASH_SHA256}{self.labels_sha256}",
                "raster:bands": [{"data_type": "uint8", "nodata": NODATA, "sampling": "area"}],
                "classification:classes": [
                    {"value": c.class_id, "name": c.name, "color_hint": c.color} for c in self.classes
                ],
            },
        )

    @classmethod
    def from_stac(cls, item: dict[str, Any], uri: str) -> "Prediction":
        """Read an Item back. Raises StorageError when it is no Item that Orthostat wrote."""
        try:
            return cls._from_stac(item)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{uri} is no Item of a prediction ({error!r}); delete it and predict again"
            ) from error

    @classmethod
    def _from_stac(cls, item: dict[str, Any]) -> "Prediction":
        properties, asset = item["properties"], item["assets"]["labels"]
        a, b, c, d, e, f = properties["proj:transform"]
        return cls(
            scene_id=item["id"],
            labels_href=asset["href"],
            labels_sha256=asset["file:checksum"].removeprefix(_MULTIHASH_SHA256),
            acquired=datetime.fromisoformat(properties["datetime"]),
            crs=properties["proj:code"] or properties["proj:wkt2"],
            shape=_pair(properties["proj:shape"]),
            transform=(a, b, c, d, e, f),
            classes=tuple(
                LabelClass(entry["value"], entry["name"], entry["color_hint"])
                for entry in asset["classification:classes"]
            ),
            histogram={int(key): pixels for key, pixels in properties["orthostat:histogram"].items()},
            valid_fraction=properties["orthostat:valid_fraction"],
            value_ranges=tuple(pair and (pair[0], pair[1]) for pair in properties["orthostat:value_ranges"]),
            model_sha256=properties["orthostat:model_sha256"],
            options=properties["orthostat:options"],
            source_uri=properties["orthostat:source_uri"],
            source_etag=properties["orthostat:source_etag"],
            source_last_modified=datetime.fromisoformat(properties["orthostat:source_last_modified"]),
            source_crs=properties["orthostat:source_crs"],
            source_shape=_pair(properties["orthostat:source_shape"]),
            code_version=properties["processing:version"],
            software=properties["processing:software"],
            cloud_cover_pct=properties.get("eo:cloud_cover"),
        )


def _pair(values: list[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def read_predictions(uris: Sequence[str]) -> list[Prediction]:
    """The predictions behind Items, in the order of their URIs. Raises StorageError for a missing one."""
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda uri: Prediction.from_stac(storage.read_json(uri), uri), uris))
