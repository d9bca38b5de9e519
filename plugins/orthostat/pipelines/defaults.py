"""The file defaults.yaml: what holds for all pipelines, and for the DAG that belongs to none."""

from typing import Annotated, Literal

from pydantic import Field

from orthostat.pipelines.config import Judgement, Publication, Section
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.resources import Resources


class PredictImage(Section):
    """Where the DAG `predict_image` runs, which belongs to no pipeline."""

    runner: Literal["process", "kubernetes"] = "process"
    resources: Resources = Resources()


class Defaults(Section):
    """What holds for every pipeline that does not say otherwise."""

    runner: Literal["process", "kubernetes"] = "kubernetes"
    limits: Limits = Field(default_factory=Limits)
    resources: Resources = Resources()
    judgement: Judgement = Judgement()
    publication: Publication = Publication()
    max_pods: Annotated[int, Field(ge=1, le=500)] = 200
    batch_mb: Annotated[float, Field(gt=0)] = 2000.0
    predict_image: PredictImage = PredictImage()
    """Of the DAG `predict_image`; it starts from `runner` and `resources` above."""
