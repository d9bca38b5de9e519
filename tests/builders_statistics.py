"""A period of two zones of 1 km2 and two classes, whose figures can be checked in the head."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from orthostat import storage
from orthostat.aggregation.boundaries import store_boundaries
from orthostat.aggregation.table import PeriodTable, ZoneAreas
from orthostat.estimation.estimates import ClassEstimates, Estimate, PopulationEstimates
from orthostat.estimation.period import ZoneEstimate
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.classes import LabelClass
from orthostat.statistics.codes import Row
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.result import PeriodResult, write_result
from orthostat.statistics.rows import Provenance, build_accuracy, build_rows
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import arrow_schema, digest_tables
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


def make_area(estimate_m2: float = 200_000.0, se_m2: float = 20_000.0, **changes: Any) -> Estimate:
    """An estimate with a CV of 10 %."""
    fields: dict[str, Any] = {
        "estimate": estimate_m2,
        "se": se_m2,
        "ci_lower": max(0.0, estimate_m2 - 1.96 * se_m2),
        "ci_upper": estimate_m2 + 1.96 * se_m2,
        "is_degenerate": False,
    }
    return Estimate(**(fields | changes))


def make_estimate(period: str = "2024-01", **classes: Estimate) -> ZoneEstimate:
    """Estimates of zone `a` from 60 units."""
    areas = {"water": make_area(), "crop": make_area(800_000.0)} | classes
    return ZoneEstimate(period, "a", 60, 0, 60.0, 1_000_000.0, areas)


def make_population() -> PopulationEstimates:
    """Overall accuracy 0.9; water has user's accuracy 0.8 and no producer's; crop is not in the sample."""
    share = Estimate(0.9, 0.02, 0.86, 0.94, is_degenerate=False)
    users = Estimate(0.8, 0.1, 0.6, 1.0, is_degenerate=False)
    water = ClassEstimates(users, None, share, share)
    return PopulationEstimates(share, {"water": water}, 60, 50, 0, 60.0, 1e6)


def make_inputs(**changes: Any) -> Inputs:
    """One scene's, in a closed period."""
    fields: dict[str, Any] = {
        "scenes": "1" * 64,
        "labels": "7" * 64,
        "model": "ab" * 32,
        "options": "2" * 64,
        "boundaries": "3" * 64,
        "boundary_version": "2024",
        "zone_names": "4" * 64,
        "grid": "5" * 64,
        "rule": "newest",
        "merge_threshold": 0.5,
        "sample": None,
        "publication": "6" * 64,
        "period_state": "closed",
        "steps": "compose 1",
    }
    return Inputs(**(fields | changes))


def make_provenance(inputs: Inputs | None = None) -> Provenance:
    """One scene's."""
    inputs = inputs or make_inputs()
    return Provenance(inputs.sha256, inputs.period_state, 1, inputs.model, inputs.boundary_version)


Tables = dict[str, list[Row]]
"""Rows by the name of their schema."""


def make_tables(
    period: str = "2024-01",
    pipeline: Pipeline | None = None,
    water_m2: float = 250_000.0,
    inputs: Inputs | None = None,
) -> Tables:
    """A period's rows."""
    pipeline, inputs = pipeline or make_pipeline(), inputs or make_inputs()
    estimates = {"a": make_estimate(period)} if pipeline.sample else {}
    table, provenance = make_table(water_m2), make_provenance(inputs)
    accuracy = []
    if pipeline.sample:
        accuracy = build_accuracy(pipeline, period, CLASSES, make_population(), inputs.sha256)
    lineage = {
        "period": period,
        "scene_id": "A",
        "item_uri": f"s3://bucket/{period}/item.json",
        "image_uri": "s3://bucket/scenes/A.tif",
        "image_etag": "e1",
        "inputs_sha256": inputs.sha256,
    }
    return {
        "observation": build_rows(pipeline, period, table, CLASSES, estimates, provenance),
        "accuracy": accuracy,
        "lineage": [lineage],
    }


def make_result(
    pipeline: Pipeline,
    period: str = "2024-01",
    water_m2: float = 250_000.0,
    change: Callable[[Tables], None] = lambda tables: None,
    **inputs: Any,
) -> PeriodResult:
    """A period's result, stored where the pipeline's results lie; `inputs` are changes to its inputs.

    `change` may alter the rows, whose schemas are not checked.
    """
    decided = make_inputs(**inputs)
    tables = make_tables(period, pipeline, water_m2, decided)
    change(tables)
    boundaries_uri, _ = store_boundaries(pipeline)
    key = storage.digest([decided.sha256, tables])
    schemas = (OBSERVATIONS, ACCURACY, LINEAGE)
    made = {s.name: pa.Table.from_pylist(tables[s.name], arrow_schema(s)) for s in schemas}
    result = PeriodResult(
        period=period,
        inputs=decided,
        uri=Layout(pipeline.output).result(period, key),
        figures_sha256=digest_tables(made),
        boundaries_uri=boundaries_uri,
        classes=CLASSES,
    )
    write_result(result, made)
    return result


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
