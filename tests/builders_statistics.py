"""A period of two zones of 1 km2 and two classes, whose figures can be checked in the head."""

import json
from typing import Any

from orthostat import storage
from orthostat.aggregation.table import PeriodTable, ZoneAreas
from orthostat.estimation.estimates import ClassEstimates, Estimate, PopulationEstimates
from orthostat.estimation.period import AreaEstimate, ZoneEstimate
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.classes import LabelClass
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.rows import Provenance, build_accuracy, build_rows
from tests.builders import make_pipeline

CLASSES = (LabelClass(0, "water", "0000FF"), LabelClass(1, "crop", "DDAA00"))
SAMPLE: dict[str, Any] = {
    "uri": "s3://bucket/sample.csv",
    "strata_uri": "s3://bucket/strata.csv",
    "crs": "EPSG:32633",
    "sample_id": "made-1",
    "frame": "all pixels of the zones",
    "is_simulated": True,
}


def make_table(water_m2: float = 250_000.0, crop_m2: float = 700_000.0) -> PeriodTable:
    """Zone `a` holds the given areas; zone `b` was half seen, and all that was seen is water."""
    rest = 1_000_000.0 - water_m2 - crop_m2
    classes = {0: water_m2, 1: crop_m2}
    return PeriodTable(
        zones=(
            _zone("a", "Aland", classes=classes, nodata_m2=rest, unobserved_m2=0.0),
            _zone("b", "Bland", classes={0: 500_000.0}, nodata_m2=0.0, unobserved_m2=500_000.0),
        )
    )


def make_area(estimate_m2: float = 200_000.0, se_m2: float = 20_000.0, **changes: Any) -> AreaEstimate:
    """An estimate with a CV of 10 %."""
    fields: dict[str, Any] = {
        "estimate_m2": estimate_m2,
        "se_m2": se_m2,
        "ci_lower_m2": max(0.0, estimate_m2 - 1.96 * se_m2),
        "ci_upper_m2": estimate_m2 + 1.96 * se_m2,
        "cv_pct": 100 * se_m2 / estimate_m2 if estimate_m2 else None,
        "is_degenerate": False,
    }
    return AreaEstimate(**(fields | changes))


def make_estimate(period: str = "2024-01", **classes: AreaEstimate) -> ZoneEstimate:
    """Estimates of zone `a` from 60 units."""
    areas = {"water": make_area(), "crop": make_area(800_000.0)} | classes
    return ZoneEstimate(period, "a", 60, 0, 60.0, 1_000_000.0, areas)


def make_population() -> PopulationEstimates:
    """Overall accuracy 0.9; water has user's accuracy 0.8 and no producer's; crop is not in the sample."""
    share = Estimate(0.9, 0.02, 0.86, 0.94, is_degenerate=False)
    users = Estimate(0.8, 0.1, 0.6, 1.0, is_degenerate=False)
    water = ClassEstimates(users, None, share, share)
    return PopulationEstimates(share, {"water": water}, 60, 50, 0, 60.0, 1e6)


def make_provenance(**changes: Any) -> Provenance:
    """One scene's."""
    fields: dict[str, Any] = {
        "inputs_sha256": "1" * 64,
        "scene_count": 1,
        "model_sha256": "ab" * 32,
        "boundary_version": "2024",
    }
    return Provenance(**(fields | changes))


def make_result(
    period: str = "2024-01", pipeline: Pipeline | None = None, water_m2: float = 250_000.0, **changes: Any
) -> PeriodResult:
    """A period's result; `changes` are to its provenance."""
    pipeline = pipeline or make_pipeline()
    provenance = make_provenance(**changes)
    estimates = {"a": make_estimate(period)} if pipeline.sample else {}
    rows = build_rows(pipeline, period, make_table(water_m2), CLASSES, estimates, provenance)
    inputs = provenance.inputs_sha256
    accuracy = build_accuracy(pipeline, period, CLASSES, make_population(), inputs) if pipeline.sample else []
    lineage = {
        "period": period,
        "scene_id": "A",
        "item_uri": f"s3://bucket/{period}/item.json",
        "image_uri": "s3://bucket/scenes/A.tif",
        "image_etag": "e1",
        "inputs_sha256": inputs,
    }
    return PeriodResult(
        period=period,
        inputs_sha256=inputs,
        rows=tuple(rows),
        accuracy=tuple(accuracy),
        lineage=(lineage,),
        classes=CLASSES,
    )


def write_zones(uri: str) -> None:
    """The two zones, side by side, as GeoJSON in EPSG:4326 near 15 degrees east, 45 degrees north."""
    features = [
        {
            "type": "Feature",
            "properties": {"zone_id": zone_id, "name": name},
            "geometry": {"type": "Polygon", "coordinates": [_square(west)]},
        }
        for zone_id, name, west in [("a", "Aland", 15.0), ("b", "Bland", 15.0127)]
    ]
    storage.write_bytes(uri, json.dumps({"type": "FeatureCollection", "features": features}).encode())


def make_release_pipeline(root: str, **changes: Any) -> Pipeline:
    """A pipeline whose zones `write_zones` writes."""
    zones = {
        "uri": f"{root}/zones.geojson",
        "id_column": "zone_id",
        "name_column": "name",
        "version": "2024",
    }
    return make_pipeline(f"{root}/made", **({"zones": zones} | changes))


def _square(west: float) -> list[list[float]]:
    east, south, north = west + 0.0127, 45.0, 45.009
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _zone(zone_id: str, name: str, **areas: Any) -> ZoneAreas:
    return ZoneAreas(zone_id=zone_id, name=name, parent_id=None, zone_area_m2=1_000_000.0, **areas)
