"""The pipeline file: what may stand in it, and what each value means."""

import re
from datetime import date
from typing import Annotated, Literal

from croniter import croniter
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from orthostat.errors import GridError
from orthostat.pipelines.dated import check_fields, fits, folder_of
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import EngineChoice, PredictOptions, Share
from orthostat.pipelines.resources import Resources, amount
from orthostat.projection import parse_crs, parse_projected

Uri = Annotated[str, Field(min_length=1)]
S3Uri = Annotated[str, Field(pattern=r"^s3://[^/]+")]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scenes(Section):
    """Where scenes arrive and how to read them."""

    uri: Uri
    """Prefix of the archive. With the day, month or year of acquisition (UTC) in it, such as
    `s3://bucket/scenes/{acquired:%Y/%m/%d}/`, only what lies below the dates of a run is listed."""
    pattern: str | None = None
    """Regular expression with the named groups `scene_id` and `acquired`, searched in the key below `uri`, or
    below the last folder before its first date."""
    acquired_format: str = "%Y%m%d"
    """strptime format of the group `acquired`; times are UTC."""
    stac_asset: str | None = None
    """Set instead of `pattern` when the prefix holds STAC Items: the asset that is the image."""
    image_prefixes: tuple[Uri, ...] = ()
    """Where STAC Items may say that images lie, besides the bucket, or the folder, of `uri`."""
    fill: FiniteFloat | None = None
    """Pixels with this value in every band hold no data, where the file itself does not say so."""

    @field_validator("uri")
    @classmethod
    def _dated(cls, uri: str) -> str:
        check_fields(uri)
        return uri

    @field_validator("pattern")
    @classmethod
    def _named_groups(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
        missing = {"scene_id", "acquired"} - set(groups)
        if missing:
            raise ValueError(f"lacks the named group(s) {sorted(missing)}; write e.g. (?P<scene_id>...)")
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> "Scenes":
        if (self.pattern is None) == (self.stac_asset is None):
            raise ValueError("give exactly one of 'pattern' (keys) and 'stac_asset' (STAC Items)")
        return self

    @property
    def folder(self) -> str:
        """What `uri` is on all days: the whole archive."""
        return folder_of(self.uri)


class Model(PredictOptions):
    """The Raster Vision model bundle and how it is run; options left out are the bundle's."""

    bundle: Uri
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """A bundle is code: only the one with this digest is opened."""
    card: Uri | None = None
    """The model card, a STAC Item (`orthostat bundle describe` drafts it): scenes that the model was not made
    for are refused or flagged, and it stands in every release."""
    engine: EngineChoice = "auto"
    """What runs the model: `onnx` (ONNX Runtime), `raster-vision` (PyTorch), or `auto`: onnx if it can."""

    def options(self) -> PredictOptions:
        """How the model goes over an image."""
        return PredictOptions(**{name: getattr(self, name) for name in PredictOptions.model_fields})


class Zones(Section):
    """The areas that statistics are about."""

    uri: Uri
    id_column: str
    name_column: str | None = None
    parent_column: str | None = None
    """Column with the id of the zone that this one is part of; children must sum to their parent."""
    dissolve_parents: bool = False
    """Parents are the union of their children, whatever their own polygons: for boundaries that were
    simplified level by level."""
    may_overlap: bool = False
    """Whether zones of one level may lie on one another; else such boundaries are refused."""
    version: str
    """Version of the boundaries; it is part of every figure's provenance."""


class Grid(Section):
    """The common grid of a period's composite."""

    crs: str
    resolution_m: Annotated[float, Field(gt=0)]
    """Side of a pixel, in metres."""
    origin: tuple[float, float] = (0.0, 0.0)
    """A corner of some pixel, in the grid's coordinates."""
    tile_size: Annotated[int, Field(ge=16, le=8192)] = 2048
    """Side of a composing tile in pixels; memory grows with its square."""

    @field_validator("crs")
    @classmethod
    def _keeps_areas(cls, crs: str) -> str:
        try:
            parse_projected(crs)
        except GridError as error:
            raise ValueError(str(error)) from error
        return crs


class Sample(Section):
    """The reference sample of a probability design."""

    uri: Uri
    """CSV or Parquet: unit_id, period, zone_id, stratum, x, y, reference_class ("uninterpreted" where nobody
    could tell)."""
    strata_uri: Uri
    """CSV or Parquet: period, zone_id, stratum, size, area_m2."""
    crs: str
    """Coordinate system of the columns x and y."""
    sample_id: str
    """Name and version of the sample, part of every estimate's provenance."""
    frame: Annotated[str, Field(min_length=1)]
    """What the units were drawn from, in words, such as "all 10 m pixels of the municipalities"."""
    population: Literal["zone", "frame"] = "zone"
    """What the estimates are about. `zone`: the strata of a zone must add up to it, or there is no estimate.
    `frame`: the figures are about the frame, say so in their row, and have status D (definition differs)."""
    frame_tolerance: Share = 0.01
    """Share of a zone's area by which its strata may differ from it: whole pixels, a simplified border."""
    is_simulated: bool = False
    """A simulated sample is called simulated wherever its figures appear."""

    @field_validator("crs")
    @classmethod
    def _known(cls, crs: str) -> str:
        try:
            parse_crs(crs)
        except GridError as error:
            raise ValueError(str(error)) from error
        return crs


class Judgement(Section):
    """When a prediction is refused or flagged."""

    min_valid_fraction: Share = 0.0
    """A prediction with a smaller share of valid pixels is refused."""
    max_share_change: Share = 0.5
    """A class share that differs more than this from the median of the history is flagged."""
    max_density_factor: Annotated[float, Field(gt=1)] = 3.0
    """A class with more than so many times the objects per observed km2 of the history's median, or with less
    than that part of it, is flagged (object detection)."""
    outside_card: Literal["refuse", "flag"] = "refuse"
    """What happens to scenes of another sensor, bands or pixel size than the model card says."""
    max_gsd_factor: Annotated[float, Field(gt=1)] = 1.5
    """Pixels may be so many times larger or smaller than the model card says."""
    max_value_shift: Annotated[float, Field(gt=0)] = 3.0
    """A band whose mean differs by more standard deviations from the model card's, or from the median of the
    history, is flagged."""
    max_score_drop: Share = 0.15
    """A mean score lower by more than this than the median of the history is flagged."""
    min_history: Annotated[int, Field(ge=1)] = 3
    """Fewer earlier scenes make no history."""


class Publication(Section):
    """When a figure is published, and how."""

    classes: tuple[str, ...] | None = None
    """Names of the classes in the table; all of the model's when left out."""
    release_open: bool = False
    """Whether a period is also released while it is open: not over yet, or with scenes that are listed but
    neither predicted nor failed. Its rows say so."""
    min_coverage: Share = 0.80
    """Below this share of the zone observed, the value stays empty (status O)."""
    normal_coverage: Share = 0.95
    """Below this, the value is marked as of low reliability (status U)."""
    max_cv_pct: Annotated[float, Field(gt=0)] = 25.0
    """Above this coefficient of variation, in per cent, the value is marked U."""
    suppress_cv_pct: Annotated[float, Field(gt=0)] = 50.0
    """Above this, the value is suppressed (status Q)."""
    small_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """An estimate below this share of its population is judged by the coefficient of variation that the
    sample's design has at this share: by its own, only those that came out too large would be published."""
    min_sample_size: Annotated[int, Field(ge=2)] = 30
    """Fewer interpreted sample units in a zone and period are refused."""
    max_uninterpreted: Share = 0.1
    """With a larger share of a zone's units uninterpreted, the value is marked U."""
    refuse_uninterpreted: Share = 0.3
    """With a larger share, there is no estimate (status O)."""

    @model_validator(mode="after")
    def _in_order(self) -> "Publication":
        if self.min_coverage > self.normal_coverage:
            raise ValueError(
                f"min_coverage {self.min_coverage} is above normal_coverage {self.normal_coverage}; swap them"
            )
        if self.max_cv_pct > self.suppress_cv_pct:
            raise ValueError(
                f"max_cv_pct {self.max_cv_pct} is above suppress_cv_pct {self.suppress_cv_pct}; swap them"
            )
        if self.max_uninterpreted > self.refuse_uninterpreted:
            raise ValueError(
                f"max_uninterpreted {self.max_uninterpreted} is above refuse_uninterpreted "
                f"{self.refuse_uninterpreted}; swap them"
            )
        return self


class Pipeline(Section):
    """One pipeline file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,60}$")]
    """Name of the DAG and first column of the table."""
    title: str
    description: str = ""
    scenes: Scenes
    model: Model
    output: S3Uri
    """S3 URI below which everything is written."""
    zones: Zones
    grid: Grid
    period: Literal["month", "quarter", "year"] = "month"
    rule: Literal["newest", "least_cloudy", "majority"] = "newest"
    """Which scene gives a pixel its class where valid scenes overlap."""
    merge_threshold: Share = 0.5
    """Boxes of two scenes whose intersection over union is larger are one object (object detection); over the
    smaller box, where an image's edge cuts one of them."""
    sample: Sample | None = None
    judgement: Judgement = Judgement()
    publication: Publication = Publication()
    schedule: str | None = None
    """Cron expression of the nightly run, UTC; null for none."""
    start_date: date = date(2015, 1, 1)
    """First day that a backfill may ask for."""
    lookback_days: Annotated[int, Field(ge=1)] = 30
    """A nightly run looks for scenes acquired in the last so many days."""
    max_failed_share: Share = 0.1
    """The run turns red when a larger share of its scenes failed."""
    limits: Limits = Field(default_factory=Limits)
    """How much an image, the bundle and their process may take; what is left out, the environment decides."""
    max_pods: Annotated[int, Field(ge=1, le=500)] = 200
    """At most so many predict pods, and as many compose pods, per run, whatever the number of periods."""
    batch_mb: Annotated[float, Field(gt=0)] = 2000.0
    """Megabytes of images that are worth a pod of their own."""
    runner: Literal["process", "kubernetes"] = "kubernetes"
    resources: Resources = Resources()

    @property
    def model_limits(self) -> Limits:
        """`limits` where the model runs: left to itself, the memory of a pod is that of the pod."""
        if self.runner == "process" or "memory_mb" in self.limits.model_fields_set:
            return self.limits
        return self.limits.model_copy(update={"memory_mb": 0.9 * amount(self.resources.memory) / 1e6})

    @model_validator(mode="after")
    def _has_place_of_its_own(self) -> "Pipeline":
        if {"", ".", ".."} & set(self.output.removeprefix("s3://").rstrip("/").split("/")):
            raise ValueError(
                f"output {self.output} has '//', '.' or '..' in it, which mean nothing in S3; leave them out"
            )
        if fits(self.scenes.uri, f"{self.output.rstrip('/')}/"):
            raise ValueError(
                f"output {self.output} lies below scenes.uri {self.scenes.uri}: results would be listed "
                "as scenes; give one of them another prefix"
            )
        return self

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str | None) -> str | None:
        if schedule is not None and not croniter.is_valid(schedule):
            raise ValueError("is no cron expression; write five fields, e.g. '0 0 * * *' for every midnight")
        return schedule
