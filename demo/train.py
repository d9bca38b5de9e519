# mypy: disable-error-code="attr-defined, call-arg, no-untyped-call"
# (Raster Vision's exports, pydantic defaults and methods are invisible to mypy)
"""Train the demo's model bundles with Raster Vision.

    python -m demo.train landsat|synthetic

Raster Vision's own pipeline and learner do the work. Afterwards the bundle is packed again so that the same
training gives the same bytes: no folder of this machine, no time of writing, entries in order. What stays out
is the copy of the network as ONNX, which Raster Vision opens only on request.
"""

import argparse
import hashlib
import io
import random
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch

from demo.synthetic.scenes import write_training
from demo.synthetic.truth import CLASSES
from demo.training import FOLDER, Training, configure

NEUTRAL = "/opt/data"
"""What the bundle names instead of the folder it was trained in."""


def landsat() -> Training:
    """The bundle of the real scenes, from their four labelled polygons."""
    return Training(
        image=FOLDER / "landsat/scenes/LC08_L1TP_224078_20200518_20200518_01_RT.tif",
        polygons=FOLDER / "landsat/training.gpkg",
        bundle=FOLDER / "landsat/bundle/landcover.zip",
        colors={"water": "#2b6cb0", "crop": "#e3c567", "tree": "#276749", "developed": "#c53030"},
        weights=(1.0, 2.0, 1.0, 0.7),
        epochs=6,
        windows=32,
        noise=0.6,
    )


def synthetic(folder: Path) -> Training:
    """The bundle of the synthetic scenes, from a scene of another world that it writes into `folder`."""
    image, polygons = folder / "training.tif", folder / "training.gpkg"
    write_training(image, polygons)
    return Training(
        image=image,
        polygons=polygons,
        bundle=FOLDER / "synthetic/bundle/synthetic.zip",
        colors=CLASSES,
        weights=(1.0, 1.0, 2.0, 1.0),  # makes the map show too much forest, as a count of pixels then does
        epochs=6,
        windows=32,
        noise=0.1,
    )


def train(training: Training) -> str:
    """Train, write `training.bundle` and return its SHA-256."""
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    random.seed(training.seed)
    np.random.seed(training.seed)  # noqa: NPY002 - Raster Vision draws its windows from numpy's global state
    torch.manual_seed(training.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(training, folder)
        config.update()
        config.recursive_validate_config()
        config.to_file(config.get_config_uri())
        pipeline = config.build(str(folder / "tmp"))
        (folder / "tmp").mkdir()
        pipeline.analyze()
        learner = config.backend.get_learner_config(config).build(str(folder / "tmp"), training=True)
        learner.train()
        learner.save_model_bundle(export_onnx=False)
        pipeline.bundle()
        training.bundle.parent.mkdir(parents=True, exist_ok=True)
        training.bundle.write_bytes(repack(Path(config.get_model_bundle_uri()).read_bytes(), name))
    return hashlib.sha256(training.bundle.read_bytes()).hexdigest()


def repack(bundle: bytes, folder: str) -> bytes:
    """The same zip file with entries in order, a fixed date, and NEUTRAL for `folder` in its JSON files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in sorted(name for name in old.namelist() if not name.endswith("/")):
            data = old.read(name)
            if name.endswith(".zip"):
                data = repack(data, folder)
            elif name.endswith(".json"):
                data = data.replace(folder.encode(), NEUTRAL.encode())
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            new.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()


def main() -> None:
    """Train one bundle and print its digest."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("bundle", choices=["landsat", "synthetic"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training = landsat() if arguments.bundle == "landsat" else synthetic(Path(folder))
        print(f"{training.bundle}: sha256 {train(training)}")


if __name__ == "__main__":
    main()
