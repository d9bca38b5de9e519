"""The keys of a period's tiles: each says what decides its content, so that nothing is computed twice."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.aggregation.values import DETECTIONS, OBJECTS, Tile
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.item import Prediction

COMPOSE_VERSION = 1
"""Rises when equal scenes give another tile."""
TABULATE_VERSION = 2
"""Rises when an equal tile gives other figures."""


class TileTask(BaseModel):
    """One tile of a period's composite, and what it gives each zone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: Tile
    """Column and row."""
    tile_uri: str
    """The composite; its key holds the scenes that touch the tile, grid and rule."""
    objects_uri: str | None = None
    """The tile's objects, each of the period's objects once; None where the model detects none."""
    tabulation_uri: str
    """Its key adds the zones that touch the tile."""


def make_task(
    pipeline: Pipeline, period: str, tile: Tile, scenes: Sequence[Prediction], zones: Sequence[str]
) -> TileTask:
    """The keys of a tile that `scenes` touch, and the zones with the digests `zones`; orders play no part."""
    has_objects = scenes[0].task == OBJECTS
    rules = {"grid", "rule", "merge_threshold"} if has_objects else {"grid", "rule"}
    composed = storage.digest(
        {
            "version": COMPOSE_VERSION,
            "tile": tile,
            "rules": pipeline.model_dump(mode="json", include=rules),
            "classes": [vars(entry) for entry in scenes[0].classes],
            "scenes": sorted(footing(pipeline.rule, scene) for scene in scenes),
        }
    )
    tabulated = storage.digest({"version": TABULATE_VERSION, "tile": composed, "zones": sorted(zones)})
    layout = Layout(pipeline.output)
    return TileTask(
        tile=tile,
        tile_uri=layout.tile(period, tile, composed),
        objects_uri=layout.objects(period, tile, composed) if has_objects else None,
        tabulation_uri=layout.tabulation(period, tile, tabulated),
    )


def list_tiles(layout: Layout, period: str) -> set[str]:
    """URIs of the tiles and tabulations of a period that are there."""
    return {
        entry.uri
        for part in ("tiles", "tabulations")
        for entry in storage.list_objects(layout.period(period, part) + "/")
    }


def footing(rule: str, scene: Prediction) -> list[str]:
    """What decides what a scene gives a tile: its rank, and the digests of its files."""
    objects = [scene.files[DETECTIONS].sha256] if scene.task == OBJECTS else []
    return [*rank(rule, scene), scene.labels.sha256, *objects]


def rank(rule: str, scene: Prediction) -> list[str]:
    """What decides whether a scene has the say over another."""
    clearness, acquired, scene_id, _ = rank_scene(rule, scene)
    return [scene_id, acquired.isoformat(), str(clearness)]


def rank_scene(rule: str, scene: Prediction) -> tuple[float, datetime, str, str]:
    """Sort key under which the greatest of the valid scenes wins a pixel.

    `newest`: the latest acquired. `least_cloudy`: the least cloud cover, where unknown counts as 100 %, then
    the latest. `majority`: as `newest`, for ties. Last the scene id, so that no order of
    inputs counts.
    """
    cloud = 100.0 if scene.cloud_cover_pct is None else scene.cloud_cover_pct
    clearness = -cloud if rule == "least_cloudy" else 0.0
    return clearness, scene.acquired, scene.scene_id, scene.labels.href
