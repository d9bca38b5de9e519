"""Every key that Orthostat writes, below the pipeline's `output` URI.

    bundles/MODEL.json
    predictions/MODEL/OPTIONS/YYYY-MM-DD/SCENE/ETAG/{labels.tif..,item.json | failure.json,verdict.json}
    runs/RUN/{plan,verification,judgement}.json  runs/RUN/batches/NNNN.json  runs/RUN/tiles/PERIOD-NNNN.json
    periods/PERIOD/INPUTS/{tiles/COL_ROW.tif,objects/COL_ROW.parquet,tabulations/NNNN.json,result.json}
    releases/RELEASE/{statistics.parquet,statistics.csv,accuracy.csv,map-PERIOD.png,release.json}

Whatever decides a result is part of its key, so that a retry overwrites equal bytes and a new model, option
or image never meets an old result.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime

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
    def verdict(self) -> str:
        """The verdict on the prediction."""
        return storage.join(self.folder, "verdict.json")


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

    def work(self, run_id: str, period: str, number: int) -> str:
        """Manifest of one compose (and tabulate) pod."""
        return self.run(run_id, "tiles", f"{period}-{number:04d}.json")

    def period(self, period: str, inputs_sha256: str, *parts: str) -> str:
        """An object of one period's composite, for one set of inputs."""
        return storage.join(self.root, "periods", period, short(inputs_sha256), *parts)

    def release(self, release_id: str, *parts: str) -> str:
        """An object of one release."""
        return storage.join(self.root, "releases", release_id, *parts)


def short(digest: str) -> str:
    """The part of a digest that stands in a key."""
    return digest[:_DIGEST_LENGTH]


def safe(name: str) -> str:
    """`name` with every character replaced that is awkward in a key or a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def day_prefixes(start: date, end: date) -> list[str]:
    """Shortest list of date prefixes that covers the days from `start` to before `end`."""
    prefixes = []
    day = start
    while day < end:
        following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        if day.day == 1 and following <= end:
            prefixes.append(f"{day:%Y-%m}-")
            day = following
        else:
            prefixes.append(f"{day:%Y-%m-%d}/")
            day = date.fromordinal(day.toordinal() + 1)
    return prefixes
