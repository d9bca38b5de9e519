"""What whole processes take, and ratios of it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cost:
    """Of a process with all that it started."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Of the largest single process."""

    def __str__(self) -> str:
        return f"{self.wall_s:7.2f} s wall  {self.cpu_s:7.2f} s CPU  {self.peak_mb:6.0f} MB"

    def times(self, number: float) -> "Cost":
        """As many of them, one after the other."""
        return Cost(self.wall_s * number, self.cpu_s * number, self.peak_mb)


def measure(command: Sequence[str | Path], **variables: str) -> Cost:
    """Run a command to its end. Raises CalledProcessError when it fails."""
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RASTERVISION_PREDICT_NUM_WORKERS": "0", **variables},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def predict(
    bundle: Path, images: Sequence[str | Path], output: str | Path, *options: str
) -> list[str | Path]:
    """`orthostat predict` as a command."""
    words: list[str | Path] = [BIN / "orthostat", "predict", "--bundle", bundle, "--output", output, *options]
    for image in images:
        words += ["--image", image]
    return words


def raster_vision(bundle: Path, image: Path, output: Path) -> list[str | Path]:
    """`rastervision predict` as a command."""
    return [BIN / "rastervision", "predict", bundle, image, output]


def tell(name: str, ours: Cost, theirs: Cost, limit: float) -> None:
    """Print both, and the ratios against what is to be reached."""
    print(f"{name}\n  this   {ours}\n  peer   {theirs}")
    print(
        f"  ratio  wall {ours.wall_s / theirs.wall_s:.3f}  CPU {ours.cpu_s / theirs.cpu_s:.3f}  "
        f"memory {ours.peak_mb / theirs.peak_mb:.3f}  (to reach: {limit})",
        flush=True,
    )
