"""`python -m benchmarks.read IMAGE...`: images fetched and decoded, no more; prints seconds, wall and CPU."""

import sys
import tempfile
import time
from pathlib import Path

from orthostat import storage
from orthostat.prediction.blocks import Area
from orthostat.prediction.read import open_image

_ROWS = 256


def main() -> None:
    """Fetch each image and decode it once, in strips."""
    start, start_cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for uri in sys.argv[1:]:
            path = Path(folder) / "image"
            storage.download(uri, path)
            with open_image(path, uri, None) as image:
                rows, columns = image.shape
                for top in range(0, rows, _ROWS):
                    image.block(Area(top, 0, min(top + _ROWS, rows), columns))
    print(time.monotonic() - start, time.process_time() - start_cpu)


if __name__ == "__main__":
    main()
