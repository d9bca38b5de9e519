"""`python -m demo [ENGINE]`: the main job, on this machine, on real scenes and on synthetic ones."""

import argparse
import sys

from demo.run import run_demo
from orthostat.errors import OrthostatError

parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
parser.add_argument("engine", nargs="?", default="auto", choices=["auto", "onnx", "raster-vision"])
try:
    run_demo(parser.parse_args().engine)
except OrthostatError as error:
    sys.exit(f"error: {error}")
