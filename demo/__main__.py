"""`python -m demo [ENGINE]`: the main job, on real scenes and on synthetic ones."""

import argparse
import sys
from functools import partial

from demo.place import find_system, start_services
from demo.run import run_demo
from orthostat.errors import OrthostatError

parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
parser.add_argument("engine", nargs="?", default="auto", choices=["auto", "onnx", "raster-vision"])
parser.add_argument(
    "--airflow",
    metavar="URL",
    help="the Airflow of a system that runs already; AIRFLOW_PASSWORD is admin's password, and AWS_* and "
    "ORTHOSTAT_DATABASE_URL lead to its S3 and its figures (default: start what is needed on this machine)",
)
arguments = parser.parse_args()
try:
    if arguments.airflow:
        run_demo(partial(find_system, arguments.airflow))
    else:
        run_demo(partial(start_services, arguments.engine))
except OrthostatError as error:
    sys.exit(f"error: {error}")
