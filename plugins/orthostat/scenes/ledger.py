"""The ledger: which scenes are already predicted, read from S3 in one listing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from orthostat import storage
from orthostat.layout import Layout, PredictionKey
from orthostat.pipelines.window import Window
from orthostat.scenes.scene import Scene

_MARKS = ("/item.json", "/failure.json")


@dataclass(frozen=True)
class Ledger:
    """What one model with one set of options has left in S3 for a window of acquisition days."""

    layout: Layout
    model_sha256: str
    options_sha256: str
    marks: dict[str, str]
    """Etag of each commit mark (item.json) and failure record, by URI."""

    def key(self, scene: Scene) -> PredictionKey:
        """Where the scene's prediction lies."""
        return self.layout.prediction(
            self.model_sha256, self.options_sha256, scene.acquired, scene.scene_id, scene.etag
        )

    def is_committed(self, scene: Scene) -> bool:
        """Whether these very bytes were predicted."""
        return self.key(scene).item in self.marks

    def has_failed(self, scene: Scene) -> bool:
        """Whether there is a failure record, and no prediction, of these very bytes."""
        return self.key(scene).failure in self.marks and not self.is_committed(scene)

    def items(self) -> list[str]:
        """URIs of all commit marks, sorted."""
        return sorted(uri for uri in self.marks if uri.endswith("/item.json"))


def read_ledger(layout: Layout, model_sha256: str, options_sha256: str, window: Window) -> Ledger:
    """List what was committed or failed for acquisitions in `window`.

    One listing, from the first day to the last: keys begin with the day, and S3 lists them in order.
    """
    folder = layout.predictions(model_sha256, options_sha256)
    last = (window.end - timedelta(microseconds=1)).date()
    # With its slash: of a folder's name alone, servers that list folder by folder skip what is in it.
    first, end = f"{folder}{window.start:%Y-%m-%d}/", f"{folder}{last + timedelta(days=1):%Y-%m-%d}"
    of_days = takewhile(lambda entry: entry.uri < end, storage.list_objects(folder, after=first))
    marks = {entry.uri: entry.etag for entry in of_days if entry.uri.endswith(_MARKS)}
    return Ledger(layout, model_sha256, options_sha256, marks)


def new_scenes(scenes: Iterable[Scene], ledger: Ledger, failed_images: Iterable[str] = ()) -> list[Scene]:
    """The set difference: scenes neither committed nor known to hold an image that cannot be predicted.

    `failed_images` are the failure records (URIs) whose reason lies in the image itself.
    """
    hopeless = set(failed_images)
    return [
        scene
        for scene in scenes
        if not ledger.is_committed(scene) and ledger.key(scene).failure not in hopeless
    ]
