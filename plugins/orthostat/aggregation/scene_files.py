"""The files of scenes while tiles are composed: rasters read by windows, objects kept as long as needed."""

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import shapely

from orthostat import storage
from orthostat.aggregation.detections import Objects, read_objects
from orthostat.aggregation.objects import Source
from orthostat.aggregation.values import DETECTIONS
from orthostat.aggregation.work import footprint
from orthostat.pipelines.config import Grid
from orthostat.prediction.item import Prediction


class SceneFiles:
    """Scenes in the order of their ids, and what this machine holds of them."""

    def __init__(self, folder: Path, grid: Grid, scenes: Sequence[Prediction]) -> None:
        self.scenes = sorted(scenes, key=lambda scene: (scene.scene_id, scene.labels.href))
        self._areas = [footprint(scene, grid) for scene in self.scenes]
        self._folder, self._grid = folder, grid

    def touching(self, box: shapely.Polygon) -> list[int]:
        """Numbers of the scenes that touch a box in the grid's system."""
        return [number for number, area in enumerate(self._areas) if area.intersects(box)]

    def labels(self, number: int) -> tuple[Prediction, str]:
        """A scene and the URI of its raster, of which windows are read."""
        scene = self.scenes[number]
        return scene, scene.labels.href

    def source(self, number: int) -> Source:
        """A scene, its raster and its objects, which stay on disk. Raises StorageError, GridError."""
        scene, observed = self.labels(number)
        path = self._path(number)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                detections = storage.local_copy(scene.files[DETECTIONS].href, Path(folder))
                np.save(path, read_objects(scene, detections, self._grid, number))
        objects: Objects = np.load(path, mmap_mode="r")
        return Source(scene, observed, self._areas[number], objects)

    def keep(self, numbers: Collection[int]) -> None:
        """Delete what was fetched of all other scenes."""
        for number in set(range(len(self.scenes))) - set(numbers):
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"objects-{number}.npy"
