"""Every key that Orthostat writes, below the pipeline's `output` URI.

    bundles/MODEL.json
    predictions/MODEL/OPTIONS/YYYY-MM-DD/SCENE/ETAG/{labels.tif..,item.json | failure.json}
    predictions/MODEL/OPTIONS/YYYY-MM-DD/SCENE/ETAG/attempt.json  (only while it is tried apart)
    predictions/MODEL/OPTIONS/YYYY-MM-DD/items.json.gz
    withdrawals/SCENE.json
    boundaries/BOUNDARIES.parquet  boundaries/ZONES.json
    runs/RUN/{plan,verification,judgement}.json  runs/RUN/batches/NNNN.json  runs/RUN/tiles/NNNN.json
    periods/PERIOD/judgement.json
    periods/PERIOD/{tiles,objects,tabulations}/COL_ROW-KEY.*  periods/PERIOD/estimates/KEY.json
    periods/PERIOD/results/KEY/{result.json,statistics.parquet,..}
    releases/RELEASE/PERIOD/{statistics.parquet,statistics.csv,accuracy.csv,..,map.png}
    releases/RELEASE/{release,model-card}.json  releases/catalog.json

Whatever decides a result is part of its key, so that a retry overwrites equal bytes, a new model, option or
image never meets an old result, and what is there need not be computed again.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from orthostat import storage

_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class PredictionKey:
    """Where one scene's prediction lies."""

    folder: str
    """URI of the prediction's folder."""

    def file(self, name: str) -> str:
        """A file of the prediction, such as `labels.tif`."""
        return storage.join(self.folder, name)

    @property
    def item(self) -> str:
        """The STAC Item: written last, it commits the prediction."""
        return storage.join(self.folder, "item.json")

    @property
    def failure(self) -> str:
        """The failure record of a scene that could not be predicted."""
        return storage.join(self.folder, "failure.json")

    @property
    def attempt(self) -> str:
        """The mark of a scene that is tried apart from others, as one of its batch took too much memory."""
        return storage.join(self.folder, "attempt.json")


@dataclass(frozen=True)
class Layout:
    """The keys of one pipeline."""

    root: str
    """The pipeline's `output` URI."""

    def description(self, model_sha256: str) -> str:
        """What a model bundle says of itself."""
        return storage.join(self.root, "bundles", f"{short(model_sha256)}.json")

    def predictions(self, model_sha256: str, options_sha256: str, prefix: str = "") -> str:
        """Prefix of all predictions of one model with one set of options; `prefix` narrows it by date."""
        return (
            storage.join(self.root, "predictions", short(model_sha256), short(options_sha256)) + "/" + prefix
        )

    def prediction(
        self, model_sha256: str, options_sha256: str, acquired: datetime, scene_id: str, etag: str
    ) -> PredictionKey:
        """Folder of one scene's prediction."""
        day = f"{acquired:%Y-%m-%d}"
        return PredictionKey(
            self.predictions(model_sha256, options_sha256, f"{day}/{safe(scene_id)}/{safe(etag)}")
        )

    def run(self, run_id: str, *parts: str) -> str:
        """An object of one run."""
        return storage.join(self.root, "runs", safe(run_id), *parts)

    def plan(self, run_id: str) -> str:
        """The run's plan: the pipeline as it was, the window and the batches."""
        return self.run(run_id, "plan.json")

    def batch(self, run_id: str, number: int) -> str:
        """Manifest of one predict pod."""
        return self.run(run_id, "batches", f"{number:04d}.json")

    def work(self, run_id: str, number: int) -> str:
        """Manifest of one compose (and tabulate) pod."""
        return self.run(run_id, "tiles", f"{number:04d}.json")

    def boundaries(self, key: str) -> str:
        """The zones, projected to a grid."""
        return storage.join(self.root, "boundaries", f"{short(key)}.parquet")

    def zones(self, key: str) -> str:
        """Which projected zones were made of a file with zones."""
        return storage.join(self.root, "boundaries", f"{short(key)}.json")

    def withdrawals(self) -> str:
        """Prefix of the records of withdrawn scenes."""
        return storage.join(self.root, "withdrawals") + "/"

    def withdrawal(self, scene_id: str) -> str:
        """The record of a scene that was withdrawn."""
        return storage.join(self.root, "withdrawals", f"{safe(scene_id)}.json")

    def period(self, period: str, *parts: str) -> str:
        """An object of one period."""
        return storage.join(self.root, "periods", period, *parts)

    def tile(self, period: str, tile: tuple[int, int], key: str) -> str:
        """A tile of a period's composite."""
        return self.period(period, "tiles", f"{tile[0]}_{tile[1]}-{short(key)}.tif")

    def objects(self, period: str, tile: tuple[int, int], key: str) -> str:
        """The objects of a tile, each of the period's objects once."""
        return self.period(period, "objects", f"{tile[0]}_{tile[1]}-{short(key)}.parquet")

    def tabulation(self, period: str, tile: tuple[int, int], key: str) -> str:
        """What a tile holds of each zone."""
        return self.period(period, "tabulations", f"{tile[0]}_{tile[1]}-{short(key)}.json")

    def estimate(self, period: str, key: str) -> str:
        """The period's tabulations summed up, and what the reference sample says."""
        return self.period(period, "estimates", f"{short(key)}.json")

    def result(self, period: str, inputs_sha256: str, *parts: str) -> str:
        """A period's rows, ready to be released."""
        return self.period(period, "results", short(inputs_sha256), *parts)

    def releases(self) -> str:
        """Prefix of all releases."""
        return storage.join(self.root, "releases") + "/"

    def release(self, release_id: str, *parts: str) -> str:
        """An object of one release."""
        return storage.join(self.root, "releases", release_id, *parts)

    def catalog(self) -> str:
        """What is current: the one file that readers by S3 follow."""
        return storage.join(self.root, "releases", "catalog.json")


def short(digest: str) -> str:
    """The part of a digest that stands in a key."""
    return digest[:_DIGEST_LENGTH]


def safe(name: str) -> str:
    """`name` with every character replaced that is awkward in a key or a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
