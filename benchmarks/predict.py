"""`python -m benchmarks.predict CASE...`: prediction against `rastervision predict` and the bare forward.

Whole processes one after the other on the same machine, over a small U-Net whose labels vary. Raster Vision
also writes polygons of every class, which its command does unasked; that is part of its time.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from moto.server import ThreadedMotoServer

from benchmarks.measure import Cost, measure, predict, raster_vision, tell
from orthostat import storage

# Made by processes of their own: a child's peak memory counts that of the process that it was forked from.
UNET = (sys.executable, "-m", "benchmarks.unet")
IMAGES = (sys.executable, "-m", "benchmarks.images")
ONNX = ("--engine", "onnx")
TORCH = ("--engine", "raster-vision")
_S3_SCENES = 12


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
        forward[name] = _timed("benchmarks.forward", bundle, image, name)
        print(f"bare forward, {name}: {forward[name].wall_s:.2f} s wall, {forward[name].cpu_s:.2f} s CPU")
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


def s3(folder: Path, size: int) -> None:
    """Scenes from S3 to COGs in S3, as a share of the bare forward and of fetching and decoding alone."""
    bundle, image = write_bundle(folder / "unet.zip"), write_image(folder / "scene.tif", size)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "benchmark"}
    os.environ |= {"AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_DEFAULT_REGION": "us-east-1"}
    storage.s3().create_bucket(Bucket="benchmark")
    scenes = [f"s3://benchmark/{number}.tif" for number in range(_S3_SCENES)]
    for scene in scenes:
        storage.upload(image, scene)
    fastest = min(
        (_timed("benchmarks.forward", bundle, image, name) for name in ("onnx", "raster-vision")),
        key=lambda cost: cost.wall_s,
    ).times(_S3_SCENES)
    reading = _timed("benchmarks.read", *scenes)
    ours = measure(predict(bundle, scenes, "s3://benchmark/out", *ONNX))
    server.stop()
    tell(f"{_S3_SCENES} scenes of {size} x {size}, S3 to COG, against the bare forward", ours, fastest, 1.15)
    for name, limit in (("the bare forward", fastest), ("fetching and decoding alone", reading)):
        print(f"  pixels per second as a share of {name}: {limit.wall_s / ours.wall_s:.3f}")


def _timed(module: str, *arguments: str | Path) -> Cost:
    """What a module measured of itself, without its start."""
    command = [sys.executable, "-m", module, *(str(word) for word in arguments)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Cost(float(printed[0]), float(printed[1]), 1.0)


CASES: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "start": (start, 0),
    "batch": (batch, 0),
    "large": (large, 10240),
    "memory": (memory, 20480),
    "nodata": (nodata, 4096),
    "s3": (s3, 2048),
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
