"""A whole run without Airflow: the same commands in the same order, in this process."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orthostat import storage
from orthostat.cli.main import build_parser
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline


def run_command(*arguments: str) -> Any:
    """What one command returns; its errors are raised. None needs rasterio's own way to S3."""
    parsed = build_parser().parse_args(arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rasterio.session.AWSSession.__init__", refuse_account)
        return parsed.run(parsed)


def refuse_account(*arguments: object, **options: object) -> None:
    """To make one takes longer than to read a tile."""
    raise AssertionError("rasterio makes a session of AWS")


@dataclass(frozen=True)
class Run:
    """What a run said, by step."""

    notes: dict[str, str]
    batches: list[str]
    work: list[str]


@dataclass(frozen=True)
class Story:
    """One pipeline with its archive in a bucket of its own and a statistics database."""

    pipeline: Pipeline
    folder: Path
    """Folder of the pipeline file."""

    def write(self, **changes: Any) -> "Story":
        """Write the pipeline file, changed; returns the story of the changed pipeline."""
        pipeline = Pipeline.model_validate(self.pipeline.model_dump() | changes)
        content = yaml.safe_dump(pipeline.model_dump(mode="json"))
        (self.folder / f"{pipeline.name}.yaml").write_text(content)
        return Story(pipeline, self.folder)

    def plan(self, run_id: str, start: str, end: str, *options: str) -> Any:
        """The plan step."""
        return run_command(
            *("step", "plan", "--pipeline", self.pipeline.name, "--run-id", run_id),
            *("--start", f"{start}T00:00:00+00:00", "--end", f"{end}T00:00:00+00:00", *options),
        )

    def step(self, name: str, run_id: str) -> Any:
        """A step that takes a run."""
        return run_command("step", name, "--root", self.pipeline.output, "--run-id", run_id)

    def run(self, run_id: str, start: str, end: str, *options: str) -> Run:
        """Every step, in order."""
        plan = self.plan(run_id, start, end, *options)
        for uri in plan["work"]:
            run_command("step", "predict", "--batch", uri)
        return self.finish(run_id, plan)

    def finish(self, run_id: str, plan: Any) -> Run:
        """The steps after predict."""
        notes = {"plan": plan["note"], "verify": self.step("verify", run_id)["note"]}
        judged = self.step("judge", run_id)
        for name in ("compose", "tabulate"):
            for uri in judged["work"]:
                run_command("step", name, "--work", uri)
        notes["judge"] = judged["note"]
        for name in ("estimate", "release", "gate"):
            notes[name] = self.step(name, run_id)["note"]
        return Run(notes, plan["work"], judged["work"])

    def files(self, period: str) -> dict[str, str]:
        """URIs of a period's current files by name, as the catalog names them."""
        entry = storage.read_json(Layout(self.pipeline.output).catalog())["periods"][period]
        return {name: storage.join(entry["uri"], name) for name in entry["files"]}

    def csv(self) -> bytes:
        """The current table."""
        path = self.folder / "table.csv"
        run_command("statistics", "export", "--pipeline", self.pipeline.name, "--output", str(path))
        return path.read_bytes()


def upload_scenes(story: Story, world: Path, month: str = "", *, without: str = "") -> list[str]:
    """Upload the scenes of a month (all of them by default) but one; returns their names."""
    paths = [p for p in sorted((world / "scenes").glob("*.tif")) if month.replace("-", "") in p.stem]
    chosen = [path for path in paths if path.stem != without]
    for path in chosen:
        storage.upload(path, storage.join(story.pipeline.scenes.uri, path.name))
    return [path.stem for path in chosen]


def scenes_of(world: Path, month: str) -> list[str]:
    """Names of a month's scenes."""
    return [
        path.stem for path in sorted((world / "scenes").glob("*.tif")) if month.replace("-", "") in path.stem
    ]


def read_table(story: Story) -> list[dict[str, str]]:
    """The current table."""
    return list(csv.DictReader(io.StringIO(story.csv().decode())))
