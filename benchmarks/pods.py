"""`tests/cluster/run python -m benchmarks.pods [--repeat N]`: from the creation of a pod to its first pixel.

Against it, in turn: a pod of the same image and the same resources whose program is but what no prediction
can do without, the imports of ONNX Runtime, rasterio and boto3, the download of bundle and image, and the
opening of the model. The first pixels of a prediction are there when the log says how far its scene is, of
400 x 500 pixels, which it says of the first window at once. The image is on the node. Seconds from the
request to the API server to the line in the pod's log; the ratio is that of the medians. `tests/cluster/run`
says on which cluster.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.synthetic.world import write_world
from orthostat import storage
from orthostat.cluster.pod import predict_pod
from orthostat.pipelines.resources import Resources
from tests.cluster.archive import RESOURCES, describe_pipeline, remove_bucket
from tests.cluster.cluster import ROOT, s3_secret, temporary_namespace
from tests.cluster.kubectl import apply, attempt, kubectl

TO_REACH = 1.2
PEER = """
import io, sys, zipfile
import boto3, numpy, onnxruntime, rasterio
s3 = boto3.client("s3")
def read(uri):
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
bundle = zipfile.ZipFile(io.BytesIO(read(sys.argv[1])))
model = zipfile.ZipFile(io.BytesIO(bundle.read("model-bundle.zip")))
onnxruntime.InferenceSession(model.read("model.onnx"))
with rasterio.MemoryFile(read(sys.argv[2])) as file, file.open() as image:
    image.read(window=((0, 64), (0, 64)))
print("% done", flush=True)
"""


def upload(bucket: str, folder: Path) -> tuple[str, str]:
    """A scene and the bundle; their URIs."""
    write_world(folder)
    storage.s3().create_bucket(Bucket=bucket.removeprefix("s3://"))
    image, bundle = f"{bucket}/scene.tif", f"{bucket}/bundle.zip"
    storage.upload(min((folder / "scenes").glob("*.tif")), image)
    storage.upload(ROOT / "demo/synthetic/bundle/synthetic.zip", bundle)
    return image, bundle


def first_pixel(manifest: dict[str, Any], namespace: str) -> float:
    """Seconds from asking for the pod to the first line that says that there are pixels."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    manifest["metadata"] |= {"name": name, "namespace": namespace}
    asked_s = time.time()
    apply(manifest)
    try:
        # One watch: looking again and again would take the CPU time of what is measured.
        done = "jsonpath={.status.phase}=Succeeded"
        attempt("-n", namespace, "wait", f"pod/{name}", f"--for={done}", "--timeout=120s")
        lines = attempt("-n", namespace, "logs", name, "--timestamps").stdout.splitlines()
        for line in lines:
            if "% done" in line:
                return datetime.fromisoformat(line.split()[0]).timestamp() - asked_s
        raise SystemExit("\n".join(lines))
    finally:
        kubectl("-n", namespace, "delete", "pod", name, "--grace-period=0", "--force", "--ignore-not-found")


def measure(namespace: str, image: str, bundle: str, repeat: int) -> dict[str, list[float]]:
    """Both in turn; the first pair, when the node's caches are cold, is not counted."""
    resources = Resources.model_validate(RESOURCES | {"namespace": namespace})
    sha256 = describe_pipeline("s3://none", "none")["model"]["sha256"]
    arguments = ["predict", "--image", image, "--bundle", bundle, "--sha256", sha256]
    found: dict[str, list[float]] = {"peer": [], "predict": []}
    for n in range(repeat + 1):
        peer = predict_pod(resources, ["-c", PEER, bundle, image])
        peer["spec"]["containers"][0]["command"] = ["python"]
        output = f"{image.rpartition('/')[0]}/out/{n}"
        predict = predict_pod(resources, [*arguments, "--output", output])
        for name, manifest in (("peer", peer), ("predict", predict)):
            seconds = first_pixel(manifest, namespace)
            found[name] += [seconds] if n else []
    return found


def main() -> None:
    """Print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    bucket = f"s3://orthostat-{uuid.uuid4().hex[:8]}"
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    with tempfile.TemporaryDirectory() as folder, temporary_namespace(s3_secret()) as namespace:
        try:
            image, bundle = upload(bucket, Path(folder))
            found = measure(namespace, image, bundle, repeat)
        finally:
            remove_bucket(bucket)
    ratio = statistics.median(found["predict"]) / statistics.median(found["peer"])
    rounded = {name: [round(value, 2) for value in seconds] for name, seconds in found.items()}
    print(json.dumps({"seconds": rounded, "ratio": round(ratio, 2), "to reach": TO_REACH}, indent=2))


if __name__ == "__main__":
    main()
