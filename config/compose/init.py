"""Prepares what the services need: the bucket, Airflow's tables, its pool and its password. Repeatable."""

import json
import os
import subprocess
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError

WAIT_S = 60


def make_bucket(name: str) -> None:
    """Make the bucket; S3 may still be starting."""
    client = boto3.client("s3")
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            break
        except BotoCoreError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"S3 does not answer within {WAIT_S} s: {error}") from error
            time.sleep(1)
    if name not in names:
        client.create_bucket(Bucket=name)


def main() -> None:
    """Prepare everything."""
    make_bucket(os.environ["ORTHOSTAT_BUCKET"])
    subprocess.run(["airflow", "db", "migrate"], check=True)
    # Predictions in pods wait outside a worker slot; without --include-deferred they would not be counted.
    slots, purpose = os.environ["GPU_SLOTS"], "predict pods at a time"
    subprocess.run(["airflow", "pools", "set", "gpu", slots, purpose, "--include-deferred"], check=True)
    password_path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    password_path.write_text(json.dumps({"admin": os.environ["AIRFLOW_PASSWORD"]}))
    password_path.chmod(0o600)


main()
