"""`python -m benchmarks.predict CASE...`: prediction against `rastervision predict` and the bare forward.

Whole processes one after the other on the same machine, over a small U-Net whose labels vary. Raster Vision
also writes polygons of every class, which its command does unasked; that is part of its time.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Cost, measure, predict, raster_vision, tell

# Made by processes of their own: a child's peak memory counts that of the process that it was forked from.
UNET = (sys.executable, "-m", "benchmarks.unet")
IMAGES = (sys.executable, "-m", "benchmarks.images")
ONNX = ("--engine", "onnx")
TORCH = ("--engine", "raster-vision")


def write_bundle(path: Path, stride: int | None = None) -> Path:
    """A small U-Net."""
    subprocess.run([*UNET, path, *([] if stride is None else [str(stride)])], check=True)
    return path


def write_image(path: Path, side: int, *, half_empty: bool = False) -> Path:
    """A square image."""
    subprocess.run([*IMAGES, path, str(side), *(["half"] if half_empty else [])], check=True)
    return path


def start(folder: Path, size: int) -> None:
    """Process start to the labels of one small scene."""
    bundle, image = write_bundle(folder / "unet.zip"), write_image(folder / "small.tif", 256)
    onnx = measure(predict(bundle, [image], folder / "a", *ONNX))
    torch = measure(predict(bundle, [image], folder / "b", *TORCH))
    tell("start to first labels, onnx against raster-vision", onnx, torch, 0.15)


def batch(folder: Path, size: int) -> None:
    """24 scenes of 512 x 512 in one command against `rastervision predict` once per scene (two are timed)."""
    bundle = write_bundle(folder / "unet.zip")
    images = [write_image(folder / f"{number}.tif", 512) for number in range(24)]
    peers = [measure(raster_vision(bundle, images[i], folder / f"rv{i}")) for i in range(2)]
    wall, cpu = (sum(getattr(peer, name) for peer in peers) / 2 for name in ("wall_s", "cpu_s"))
    theirs = Cost(wall, cpu, peers[0].peak_mb).times(24)
    for name, engine, limit in (("onnx", ONNX, 1 / 40), ("raster-vision", TORCH, 1 / 15)):
        ours = measure(predict(bundle, images, folder / name, *engine))
        tell(f"24 scenes, {name}, against 24 commands", ours, theirs, round(limit, 4))


def large(folder: Path, size: int) -> None:
    """One large scene against the bare forward and against `rastervision predict`."""
    bundle, image = write_bundle(folder / "unet.zip"), write_image(folder / "large.tif", size)
    forward = {}
    for name in ("onnx", "raster-vision"):
        command = [sys.executable, "-m", "benchmarks.forward", str(bundle), str(image), name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        forward[name] = Cost(float(printed[0]), float(printed[1]), 1.0)
        print(f"bare forward, {name}: {printed[0]} s wall, {printed[1]} s CPU")
    fastest = min(forward.values(), key=lambda cost: cost.wall_s)
    ours = measure(predict(bundle, [image], folder / "onnx", *ONNX))
    tell(f"{size} x {size}, onnx, against the bare forward (fastest)", ours, fastest, 1.15)
    theirs = measure(raster_vision(bundle, image, folder / "rv"))
    tell(f"{size} x {size}, onnx, against rastervision predict", ours, theirs, 0.3)


def memory(folder: Path, size: int) -> None:
    """Peak memory of a scene four times as wide and high, with and without overlap."""
    for name, stride in (("plain", None), ("overlap", 192)):
        bundle = write_bundle(folder / f"{name}.zip", stride)
        small, wide = write_image(folder / "s.tif", size // 4), write_image(folder / "w.tif", size)
        first = measure(predict(bundle, [small], folder / "a", *ONNX))
        second = measure(predict(bundle, [wide], folder / "b", *ONNX))
        tell(f"{size} x {size} against {size // 4} x {size // 4}, {name} (memory counts)", second, first, 1.2)


def nodata(folder: Path, size: int) -> None:
    """A scene half of which holds no data against the full one."""
    bundle = write_bundle(folder / "unet.zip")
    full, half = write_image(folder / "f.tif", size), write_image(folder / "h.tif", size, half_empty=True)
    whole = measure(predict(bundle, [full], folder / "a", *ONNX))
    tell("half without data against full", measure(predict(bundle, [half], folder / "b", *ONNX)), whole, 0.6)


CASES: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "start": (start, 0),
    "batch": (batch, 0),
    "large": (large, 10240),
    "memory": (memory, 20480),
    "nodata": (nodata, 4096),
}


def main() -> None:
    """Run the cases that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("case", nargs="+", choices=[*CASES])
    parser.add_argument("--size", type=int, help="side of the large scene in pixels (default: the case's)")
    arguments = parser.parse_args()
    for case in arguments.case:
        run, size = CASES[case]
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), arguments.size or size)


if __name__ == "__main__":
    main()
