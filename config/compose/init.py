"""Prepares what the services need: the pipelines' buckets, Airflow's tables and its password. Repeatable."""

import json
import os
import subprocess
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from orthostat import storage
from orthostat.errors import ConfigurationError
from orthostat.pipelines.load import load_pipeline, pipeline_files

WAIT_S = 60


def find_buckets() -> set[str]:
    """The buckets of outputs and scenes. A file that is wrong is a DAG that says so, later."""
    buckets = set()
    for path in pipeline_files():
        try:
            pipeline = load_pipeline(path)
        except ConfigurationError as error:
            print(f"no bucket is made for {error}")
            continue
        named = [uri for uri in (pipeline.output, pipeline.scenes.uri) if storage.is_s3(uri)]
        buckets |= {storage.split_s3(uri)[0] for uri in named}
    return buckets


def make_buckets(names: set[str]) -> None:
    """Make those that are not there; S3 may still be starting."""
    client = boto3.client("s3")
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            break
        except BotoCoreError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"S3 does not answer within {WAIT_S} s: {error}") from error
            time.sleep(1)
    for name in sorted(names - there):
        try:
            client.create_bucket(Bucket=name)
        except (ClientError, BotoCoreError) as error:  # one name must not keep everything from starting
            print(f"no bucket '{name}' is made: {error}")


def main() -> None:
    """Prepare everything."""
    make_buckets(find_buckets())
    subprocess.run(["airflow", "db", "migrate"], check=True)
    password_path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    password_path.write_text(json.dumps({"admin": os.environ["AIRFLOW_PASSWORD"]}))
    password_path.chmod(0o600)


main()
