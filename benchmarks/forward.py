"""`python -m benchmarks.forward BUNDLE IMAGE ENGINE`: the bare forward pass over an image's chips in memory.

The limit that prediction is held against: chips are read and prepared before the clock starts, and the
network runs over them in the batches of the bundle, with no label written. Prints seconds, wall and CPU.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orthostat import settings
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import unpack_bundle
from orthostat.prediction.chips import read_chips
from orthostat.prediction.engines.choice import open_engine
from orthostat.prediction.read import open_image
from orthostat.prediction.windows import spans

_DISTINCT = 64
"""Batches that are kept in memory; the image's other batches are these again."""


def main() -> None:
    """Measure one engine."""
    bundle, image, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, open_image(Path(image), image, None) as opened:
        unpacked = unpack_bundle(Path(bundle), bundle, "", Path(folder))
        engine = open_engine(name, unpacked, PredictOptions(), settings.threads())  # type: ignore[arg-type]
        batches: list[NDArray[np.float32]] = []
        count = 0
        for span in spans(opened.shape, engine.options):
            for batch in read_chips(opened, span, [0, 1, 2], engine.prepare, engine.options.batch_size):
                if batch.values is not None:
                    count += 1
                    if len(batches) < _DISTINCT:
                        batches.append(batch.values)
        engine.segment(batches[0], scores=False)
        start, start_cpu = time.monotonic(), time.process_time()
        seen = np.zeros(256, np.int64)
        for number in range(count):
            labels = engine.segment(batches[number % len(batches)], scores=False)
            if number < len(batches):
                seen += np.bincount(labels.ravel(), minlength=256)
        wall, cpu = time.monotonic() - start, time.process_time() - start_cpu
    assert (seen > 0).sum() > 1, "a network whose labels do not vary proves nothing"
    print(wall, cpu)


if __name__ == "__main__":
    main()
