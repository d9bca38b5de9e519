"""`python -m benchmarks.predict`: `orthostat predict` against `rastervision predict` on a demo scene.

Whole processes, in turn, so that both meet the same machine: start-up, model, reading, prediction, writing.
Raster Vision also writes polygons of every class, which it does unasked; that is part of its time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).parents[1] / "demo" / "landsat"
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(command: list[str]) -> Cost:
    """Run a command to its end. Raises CalledProcessError when it fails."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Measure both commands in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEMO / "bundle" / "landcover.zip")
    parser.add_argument("--image", type=Path, default=sorted((DEMO / "scenes").glob("*.tif"))[0])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    orthostat, raster_vision = [], []
    for number in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            raster_vision.append(
                measure(
                    [
                        str(_BIN / "rastervision"),
                        "predict",
                        str(arguments.bundle),
                        str(arguments.image),
                        f"{folder}/rv",
                    ]
                )
            )
            ours = ["predict", "--bundle", str(arguments.bundle), "--image", str(arguments.image)]
            orthostat.append(measure([str(_BIN / "orthostat"), *ours, "--output", f"{folder}/orthostat"]))
        print(
            f"run {number + 1}: rastervision {raster_vision[-1]}, orthostat {orthostat[-1]}", file=sys.stderr
        )
    result: dict[str, object] = {"image": arguments.image.name, "runs": arguments.runs}
    for field in ("wall_s", "cpu_s", "peak_mb"):
        peer = statistics.median(getattr(cost, field) for cost in raster_vision)
        own = statistics.median(getattr(cost, field) for cost in orthostat)
        result[field] = {
            "rastervision": round(peer, 1),
            "orthostat": round(own, 1),
            "ratio": round(own / peer, 2),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
