"""Writing a bundle's network as ONNX, in a process of its own.

Raster Vision's own exporter does the work, by tracing: the other one keeps weights in a second file.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.engines.raster_vision import open_engine


def export(bundle: Bundle, batch_size: int, path: Path) -> None:
    """Write the network to `path`, for any batch and chip size; a detector's for batches of `batch_size`.

    Raises BundleError when the bundle cannot be opened; whatever torch raises.
    """
    engine = open_engine(bundle, PredictOptions(), 1)
    model = engine.description
    random = torch.Generator().manual_seed(0)
    chips = torch.rand(batch_size, model.channels, model.image_size, model.image_size, generator=random)
    is_detector = model.task == "object_detection"
    fixed: dict[str, Any] = {"dynamic_axes": {}, "output_names": None} if is_detector else {}
    engine.learner.export_to_onnx(str(path), sample_input=chips, dynamo=False, validate_export=False, **fixed)


if __name__ == "__main__":
    folder, model_folder, size, output = sys.argv[1:]
    export(Bundle("the bundle", "", Path(folder), Path(model_folder)), int(size), Path(output))
