# mypy: disable-error-code="attr-defined, import-untyped, no-untyped-call, var-annotated"
# (Raster Vision's exports and methods, and all of onnxruntime, are invisible to mypy)
"""Give a model bundle its network as ONNX, and pack it so that equal content is equal bytes.

    python -m demo.export BUNDLE...

The weights stay as they are: Raster Vision opens the bundle and exports what it opened. `demo.train` does the
same at the end of a training, so this is for bundles that were trained without.
"""

import argparse
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rastervision.pytorch_learner import Learner, ObjectDetectionLearner

NEUTRAL = "/opt/data"
"""What the bundle names instead of the folder it was trained in."""
BATCH_SIZES = (1, 3)
"""Batches that the exported network is compared with the original on."""
TOLERANCE = 1e-4
"""How far its outputs may be from the original's: scores, or pixels."""


def add_onnx(bundle: bytes) -> bytes:
    """The bundle with its network as `model.onnx` in its model bundle.

    The size of chips is free. So is the batch, but not a detector's: that takes the batch that the bundle
    predicts with, and gives boxes, labels and scores of each chip in turn. Raises ValueError if the exported
    network is more than one file or does not give what the original gives.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inner = folder / "model-bundle.zip"
        inner.write_bytes(_read(bundle, inner.name))
        learner = Learner.from_model_bundle(str(inner), str(folder / "opened"), use_onnx_model=False)
        network = folder / "onnx/model.onnx"
        network.parent.mkdir()
        model, batches, options = learner.model, list(BATCH_SIZES), {}
        if isinstance(learner, ObjectDetectionLearner):
            model = model.model  # without what makes Raster Vision's boxes of its outputs
            batch = json.loads(_read(bundle, "pipeline-config.json"))["predict_options"]["batch_sz"]
            batches, options = [batch], _detector_options(batch)
        random = torch.Generator().manual_seed(0)
        side, channels = learner.cfg.data.img_sz, learner.cfg.data.img_channels
        sample = torch.rand(batches[-1], channels, side, side, generator=random)
        # The tracing exporter: the other one writes opset 18 and keeps the weights in a second file.
        learner.export_to_onnx(str(network), sample_input=sample, dynamo=False, **options)
        for batch in batches:
            # another shape than the network was traced with; blobs for detectors, and noise against ties
            blobs = torch.rand(batch, channels, side // 32, side // 32, generator=random)
            chips = torch.nn.functional.interpolate(blobs, (side + 32, side - 16), mode="bilinear")
            noise = torch.rand(chips.shape, generator=random)
            _compare(model, network, 0.8 * chips + 0.2 * noise)
        return pack_onnx(bundle, network)


def _detector_options(batch: int) -> dict[str, Any]:
    names = [f"{name}_{chip}" for chip in range(batch) for name in ("boxes", "labels", "scores")]
    axes = {name: {0: f"found_{name.partition('_')[2]}"} for name in names}
    return {"output_names": names, "dynamic_axes": {"x": {2: "height", 3: "width"}, **axes}}


def pack_onnx(bundle: bytes, network: Path) -> bytes:
    """The bundle, packed again with the file `network` as `model.onnx` in its model bundle."""
    beside = sorted(path.name for path in network.parent.iterdir())
    if beside != [network.name]:
        raise ValueError(f"{network.name} has its weights in other files: {beside}. Export one file.")
    model = _replace(_read(bundle, "model-bundle.zip"), "model.onnx", network.read_bytes())
    return repack(_replace(bundle, "model-bundle.zip", model))


def repack(bundle: bytes, folder: str = NEUTRAL) -> bytes:
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


def _compare(model: torch.nn.Module, network: Path, chips: torch.Tensor) -> None:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": chips.numpy()})
    with torch.inference_mode():
        outputs = model(chips)
    if isinstance(outputs, list):  # of a detector: a dictionary for each chip
        expected = [chip[name].numpy() for chip in outputs for name in ("boxes", "labels", "scores")]
    else:
        expected = [outputs.numpy()]
    if not all(
        np.shape(one) == other.shape and np.allclose(one, other, rtol=0, atol=TOLERANCE)
        for one, other in zip(found, expected, strict=True)
    ):
        raise ValueError(
            f"On chips of shape {tuple(chips.shape)} the exported network differs from the original by more "
            f"than {TOLERANCE:.0e}. Look for a shape that the export fixed."
        )


def _read(bundle: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return archive.read(name)


def _replace(bundle: bytes, name: str, data: bytes) -> bytes:
    """The zip file with `data` as its entry `name`."""
    replaced = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle)) as old, zipfile.ZipFile(replaced, "w") as new:
        for other in old.namelist():
            if other != name:
                new.writestr(other, old.read(other))
        new.writestr(name, data)
    return replaced.getvalue()


def main() -> None:
    """Replace each bundle by one with ONNX and print its digest."""
    parser = argparse.ArgumentParser(prog="python -m demo.export", description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    for path in parser.parse_args().bundles:
        path.write_bytes(add_onnx(path.read_bytes()))
        print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
