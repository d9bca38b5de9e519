"""What the judge step decides, as the steps after it read it."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.aggregation.keys import TileTask
from orthostat.layout import Layout
from orthostat.planning.plan import Plan
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.description import Task
from orthostat.statistics.inputs import Inputs


class UsedScene(BaseModel):
    """A scene that a period's figures rest on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    item_uri: str
    image_uri: str
    image_etag: str


class PeriodWork(BaseModel):
    """A period whose figures are to be computed anew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    inputs: Inputs
    scenes: tuple[UsedScene, ...]
    task: Task
    classes: tuple[LabelClass, ...]
    boundaries_uri: str
    tiles: tuple[TileTask, ...]
    """All tiles of the composite, also those that are there."""
    missing: int
    """How many of them are to be composed or tabulated."""


class RunWork(BaseModel):
    """What a run has to compute after judging."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    periods: tuple[PeriodWork, ...]
    work_uris: tuple[str, ...]
    """Manifests of the pods that compose and tabulate, whichever period's tiles."""

    @property
    def tiles(self) -> int:
        """How many tiles these pods have together."""
        return sum(period.missing for period in self.periods)


class Judgement(BaseModel):
    """What the latest run that judged a period found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    inputs: Inputs
    remark: str | None
    """Why the period is not to be released, if it is not."""


def read_run_work(plan: Plan) -> RunWork:
    """What the judge step decided. Raises StorageError when it did not run."""
    return RunWork.model_validate(storage.read_json(plan.layout.run(plan.run_id, "judgement.json")))


def result_uri(plan: Plan, period: PeriodWork) -> str:
    """Where the result of a period lies."""
    return plan.layout.result(period.period, period.inputs.sha256, "result.json")


def read_judgement(layout: Layout, period: str) -> Judgement:
    """What the latest run that judged a period found. Raises StorageError when there was none."""
    return Judgement.model_validate(storage.read_json(layout.period(period, "judgement.json")))
