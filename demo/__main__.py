"""`python -m demo`: the main job, on this machine, on real scenes and on synthetic ones."""

import sys

from demo.run import run_demo
from orthostat.errors import OrthostatError

try:
    run_demo()
except OrthostatError as error:
    sys.exit(f"error: {error}")
