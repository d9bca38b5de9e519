"""Write the synthetic world into a folder: `python -m demo.synthetic FOLDER`."""

import argparse
from pathlib import Path

from demo.synthetic.world import write_world

parser = argparse.ArgumentParser(prog="python -m demo.synthetic", description=__doc__)
parser.add_argument("folder", type=Path, help="where scenes/, zones.gpkg and the CSV files go")
write_world(parser.parse_args().folder)
