"""The files of scenes while tiles are composed: each fetched once, none of it held in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from orthostat import storage
from orthostat.aggregation.detections import Objects, read_objects
from orthostat.aggregation.objects import Source
from orthostat.aggregation.values import DETECTIONS
from orthostat.aggregation.work import footprint
from orthostat.pipelines.config import Grid
from orthostat.prediction.item import File, Prediction


class SceneFiles:
    """Scenes in the order of their ids, with their files on this machine."""

    def __init__(self, folder: Path, grid: Grid, scenes: Sequence[Prediction]) -> None:
        self.scenes = sorted(scenes, key=lambda scene: (scene.scene_id, scene.labels.href))
        self._areas = [footprint(scene, grid) for scene in self.scenes]
        self._folder, self._grid = folder, grid
        self._paths: dict[str, Path] = {}

    def touching(self, box: shapely.Polygon) -> list[int]:
        """Numbers of the scenes that touch a box in the grid's system."""
        return [number for number, area in enumerate(self._areas) if area.intersects(box)]

    def labels(self, number: int) -> tuple[Prediction, Path]:
        """A scene and its raster. Raises StorageError when it is missing."""
        scene = self.scenes[number]
        return scene, self._fetch(scene.labels)

    def source(self, number: int) -> Source:
        """A scene, its raster and its objects, which stay on disk. Raises StorageError, GridError."""
        scene, observed = self.labels(number)
        path = self._folder / f"objects-{number}.npy"
        if not path.exists():
            detections = self._fetch(scene.files[DETECTIONS])
            np.save(path, read_objects(scene, detections, self._grid, number))
        objects: Objects = np.load(path, mmap_mode="r")
        return Source(scene, observed, self._areas[number], objects)

    def _fetch(self, file: File) -> Path:
        if file.href not in self._paths:
            subfolder = self._folder / str(len(self._paths))
            subfolder.mkdir()
            self._paths[file.href] = storage.local_copy(file.href, subfolder)
        return self._paths[file.href]
