"""The S3 servers that the contract is tried on: the embedded one, and one that the environment leads to."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from orthostat.local import process, s3, services

DIFFERENCES: dict[str, dict[str, str]] = {
    "embedded": {
        "test_a_listing_is_in_the_order_of_keys": "it lists folder by folder: `a/x` before `a-b`",
        "test_a_listing_begins_after_a_folder_without_its_slash": "it skips what is in that folder",
        "test_keys_are_kept_as_they_are[backslash]": "it takes a backslash for a slash",
        "test_keys_are_kept_as_they_are[two slashes]": "it takes two slashes for one",
        "test_keys_are_kept_as_they_are[a dot between slashes]": "it refuses `.` as the name of a folder",
    },
    "versitygw": {
        "test_a_refusal_says_why[wrong key]": "it answers 404, XAdminUserNotFound",
        "test_a_refusal_says_why[the keys of examples]": "it answers 404, XAdminUserNotFound",
        "test_keys_are_kept_as_they_are[two slashes]": "its keys are paths: two slashes are one",
        "test_keys_are_kept_as_they_are[a dot between slashes]": "its keys are paths: the dot goes",
        "test_a_key_may_be_the_beginning_of_another": "its keys are paths: no file is a folder",
    },
}
"""What a server is known to do otherwise: test, and why. One that does not any more makes its test fail."""


@dataclass(frozen=True)
class Server:
    """An S3 server, and who may use it."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str

    def client(self, config: Config | None = None, **changes: Any) -> Any:
        """A client that tries each request once; with other keys, or other options, for a test."""
        once = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, read_timeout=60)
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        options = {"endpoint_url": self.endpoint, "region_name": "us-east-1", **keys, **changes}
        return boto3.client("s3", **options, config=once.merge(config or Config()))


@dataclass(frozen=True)
class Embedded:
    """The embedded server as a process that a test may kill."""

    local_dir: Path

    def start(self) -> Server:
        """Start it and wait until it is ready, as `orthostat local up` does."""
        chosen = services.start_s3(self.local_dir)
        return Server("embedded", chosen.s3_endpoint, chosen.s3_access_key, chosen.s3_secret_key)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        found = process.find(s3.program(self.local_dir))
        if found is not None:
            found.kill()
            process.wait_for_end([found])
        s3.release(self.local_dir)


def name() -> str:
    """The embedded server's, or the one that CONTRACT_S3 gives to the server of the AWS_* variables."""
    return os.environ.get("CONTRACT_S3", "embedded")


def given(name: str) -> Server:
    """The server of the AWS_* variables."""
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return Server(name, *(os.environ[variable] for variable in variables))
