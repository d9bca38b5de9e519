# mypy: disable-error-code="attr-defined, call-arg, no-untyped-call"
# (Raster Vision's exports, pydantic defaults and methods are invisible to mypy)
"""Train the demo's model bundles with Raster Vision.

    python -m demo.train landsat|synthetic|trees

Raster Vision's own pipeline and learner do the work. Afterwards `demo.export` gives the bundle its network as
ONNX and packs it again so that the same training gives the same bytes: no folder of this machine, no time of
writing, entries in order.
"""

import argparse
import hashlib
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rastervision.core.rv_pipeline import RVPipelineConfig

from demo.export import add_onnx, repack
from demo.synthetic.scenes import write_training
from demo.synthetic.truth import CLASSES
from demo.training import FOLDER, Training, configure
from demo.trees import training as trees


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


def train(configure: Callable[[Path], RVPipelineConfig], bundle: Path, seed: int = 1) -> str:
    """Train what `configure` makes of a folder, write `bundle` and return its SHA-256."""
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - Raster Vision draws from numpy's global state
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(folder)
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
        trained = repack(Path(config.get_model_bundle_uri()).read_bytes(), name)
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(add_onnx(trained))
    return hashlib.sha256(bundle.read_bytes()).hexdigest()


def main() -> None:
    """Train one bundle and print its digest."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("bundle", choices=["landsat", "synthetic", "trees"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.bundle == "trees":
            bundle, digest = trees.BUNDLE, train(trees.configure, trees.BUNDLE)
        else:
            training = landsat() if arguments.bundle == "landsat" else synthetic(Path(folder))
            bundle, digest = training.bundle, train(partial(configure, training), training.bundle)
        print(f"{bundle}: sha256 {digest}")


if __name__ == "__main__":
    main()
