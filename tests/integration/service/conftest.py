"""One service for the tests of this folder, and a request in a fresh bucket."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orthostat import storage
from tests.integration.service.server import Inputs, Server, serve
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import write_image


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="package")
def jobs_bucket(s3_endpoint: str) -> str:
    import boto3

    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=s3_endpoint, **credentials).create_bucket(Bucket="service-jobs")
    return "s3://service-jobs"


@pytest.fixture(scope="package")
def server(s3_endpoint: str, folder: Path, jobs_bucket: str) -> Iterator[Server]:
    with serve(folder, s3_endpoint, "--jobs", f"{jobs_bucket}/shared") as running:
        yield running


@pytest.fixture
def inputs(s3_bucket: str, tmp_path: Path) -> Inputs:
    values = np.random.default_rng(1).integers(1, 200, (1, 90, 110), dtype=np.uint16)
    values[:, :20, :30] = 0
    image_path = write_image(tmp_path / "scene.tif", values, nodata=0)
    bundle_path = write_onnx_bundle(tmp_path / "bundle.zip")
    storage.upload(image_path, f"{s3_bucket}/scene.tif")
    storage.upload(bundle_path, f"{s3_bucket}/bundle.zip")
    request = {
        "image": f"{s3_bucket}/scene.tif",
        "model": f"{s3_bucket}/bundle.zip",
        "sha256": hashlib.sha256(bundle_path.read_bytes()).hexdigest(),
        "output": f"{s3_bucket}/out",
    }
    return Inputs(s3_bucket, request, bundle_path, image_path)


@pytest.fixture
def large(inputs: Inputs, tmp_path: Path) -> str:
    """An image that takes some seconds."""
    values = np.random.default_rng(2).integers(1, 200, (1, 6000, 6000), dtype=np.uint16)
    path = write_image(tmp_path / "large.tif", values, tiled=True)
    storage.upload(path, f"{inputs.bucket}/large.tif")
    return f"{inputs.bucket}/large.tif"
