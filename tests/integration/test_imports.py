"""A run with nothing new loads no library that it does not use: a step may be a process, and starts often."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.story import Story, upload_scenes

HEAVY = ("alembic", "geopandas", "matplotlib", "onnxruntime", "pandas", "pandera", "pyarrow", "pyogrio")
HEAVY += ("rasterio", "shapely", "sqlalchemy", "torch")
MAY_LOAD = {
    "plan": {"pyarrow", "rasterio", "shapely", "sqlalchemy"},  # it judges, too, when nothing is new
    "verify": set(),
    "judge": {"pyarrow", "rasterio", "shapely", "sqlalchemy"},  # zones, their bounds, what is released
    "estimate": set(),
    "release": {"sqlalchemy"},
    "gate": set(),
}
"""What each step of such a run needs of them."""
STEP = (
    "import json, sys; from orthostat.cli.main import main; code = main(sys.argv[1:]); "
    f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules])); sys.exit(code)"
)


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", STEP, "step", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_steps_of_a_run_with_nothing_new_load_what_they_use(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", "2024-01-01", "2024-02-01")
    of_run = ("--root", story.pipeline.output, "--run-id", "second")
    window = ("--start", "2024-01-01T00:00:00+00:00", "--end", "2024-02-01T00:00:00+00:00")
    loaded = {"plan": loaded_by("plan", "--pipeline", "synthetic", "--run-id", "second", *window)}
    for name in list(MAY_LOAD)[1:]:
        loaded[name] = loaded_by(name, *of_run)
    unneeded = {name: sorted(loaded[name] - MAY_LOAD[name]) for name in MAY_LOAD}
    assert unneeded == {name: [] for name in MAY_LOAD}


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("orthostat.prediction.images", {"numpy", "pyproj", "pystac", "rasterio", "onnxruntime"}),
        ("orthostat.prediction.child", {"boto3", "botocore", "PIL", "pyproj", "pystac", "torch"}),
    ],
)
def test_a_pod_is_not_kept_from_its_first_pixel_by_what_comes_later(module: str, unneeded: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({unneeded!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
