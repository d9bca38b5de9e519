"""The synthetic archive on a cluster's S3 server, and its pipeline in pods that fit a small machine."""

import time
from pathlib import Path
from typing import Any

import yaml

from demo.synthetic.world import write_world
from orthostat import storage
from tests.cluster.cluster import PREDICT_IMAGE, ROOT, STATS_IMAGE

SMALL = {"cpu": "100m", "memory": "1500Mi", "scratch": "2Gi"}
RESOURCES: dict[str, Any] = {
    "image": PREDICT_IMAGE,
    "stats_image": STATS_IMAGE,
    "gpu": 0,
    **SMALL,
    "stats": SMALL,
}
"""What a small machine has room for."""


def describe_pipeline(bucket: str, name: str) -> dict[str, Any]:
    """The synthetic pipeline's file, over the archive in a bucket; runner and resources are the defaults'."""
    text = (ROOT / "config/pipelines/synthetic.yaml").read_text().replace("s3://orthostat-demo", bucket)
    content: dict[str, Any] = yaml.safe_load(text)
    del content["runner"]
    return content | {"name": name, "schedule": None, "output": f"{bucket}/{name}"}


def upload_world(bucket: str, folder: Path) -> None:
    """The synthetic archive, its zones, sample and model."""
    write_world(folder)
    storage.s3().create_bucket(Bucket=bucket.removeprefix("s3://"))
    for path in sorted((folder / "scenes").glob("*.tif")):
        storage.upload(path, f"{bucket}/synthetic/scenes/{path.name}")
    for name in ("zones.gpkg", "sample.csv", "strata.csv"):
        storage.upload(folder / name, f"{bucket}/synthetic/{name}")
    bundle = ROOT / "demo/synthetic/bundle/synthetic.zip"
    storage.upload(bundle, f"{bucket}/synthetic/bundle/synthetic.zip")


def remove_bucket(bucket: str) -> None:
    """Leave nothing on a server that others use; a pod that is being ended may still write."""
    for seconds in (1, 5, 30):
        for entry in list(storage.list_objects(f"{bucket}/")):
            storage.delete(entry.uri)
        try:
            storage.s3().delete_bucket(Bucket=bucket.removeprefix("s3://"))
        except storage.s3().exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty":
                raise
            time.sleep(seconds)
        else:
            return
    raise AssertionError(f"somebody writes to {bucket} all the time")
