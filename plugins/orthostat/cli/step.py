"""`orthostat step`: the steps of a run, as Airflow and its pods call them."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orthostat.cli.predict_options import sha256

if TYPE_CHECKING:
    from orthostat.prediction.launch import Launched

Result = dict[str, Any]
"""`note`: a sentence for the run's note; `work`: manifests for the mapped step that follows; `planned`: how
many scenes or tiles each mapped step has to do; `unneeded`: other steps that would find nothing to do."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "step",
        help="run one step of a pipeline's run",
        description="Run one step of a pipeline's run. Each step reads what the one before left in S3, "
        "prints JSON, and may be run again at any time.",
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    _add_plan(steps)
    for name, (run, help_text, option) in _WORK_STEPS.items():
        step = _add(steps, name, run, help_text)
        step.add_argument(option, required=True, metavar="URI", dest="uri", help="the pod's manifest")
        if name == "predict":
            step.add_argument(
                "--sha256",
                type=sha256,
                metavar="HEX",
                help="the only bundle to open, whatever the manifest names (default: the manifest's)",
            )
            step.add_argument(
                "--overloads",
                type=int,
                default=0,
                metavar="N",
                help="so many pods of this batch were killed for memory or scratch: go scene by scene, and "
                "record the one at which the last of them was (default: %(default)s)",
            )
    for name, (run, help_text) in _RUN_STEPS.items():
        step = _add(steps, name, run, help_text)
        step.add_argument("--root", required=True, metavar="URI", help="the pipeline's output")
        step.add_argument("--run-id", required=True, metavar="ID", help="the run, as `step plan` was told")


def _add(steps: Any, name: str, run: Callable[[argparse.Namespace], Result], help_text: str) -> Any:
    step = steps.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    step.set_defaults(run=run)
    return step


def _add_plan(steps: Any) -> None:
    step = _add(steps, "plan", plan, "list the scenes of a window and write the batches to predict")
    step.add_argument(
        "--pipeline", required=True, metavar="NAME", help="name of the pipeline file, without .yaml"
    )
    step.add_argument(
        "--run-id", required=True, metavar="ID", help="name of the run; its manifests lie below it"
    )
    moment = {"required": True, "metavar": "TIME", "type": _moment}
    step.add_argument("--start", **moment, help="first moment of acquisition, ISO 8601 with UTC offset")
    step.add_argument("--end", **moment, help="end of the window, exclusive, ISO 8601 with UTC offset")
    step.add_argument("--re-predict", action="store_true", help="also predict what is predicted already")


def plan(arguments: argparse.Namespace) -> Result:
    """List, plan, and return the batches' manifests."""
    from orthostat.pipelines.load import find_pipeline, load_all
    from orthostat.pipelines.window import Window
    from orthostat.planning.plan import make_plan

    window = Window(arguments.start, arguments.end)
    made = make_plan(
        find_pipeline(arguments.pipeline),
        arguments.run_id,
        window,
        is_repredicted=arguments.re_predict,
        others=load_all(),
    )
    counts = f"{made.listed} scenes listed, {made.planned} to predict in {len(made.batches)} batches"
    waiting = [f"failed before and not tried again: {', '.join(made.waiting)}"] if made.waiting else []
    skipped = [f"skipped: {'; '.join(made.problems)}"] if made.problems else []
    note = "; ".join([f"acquired {window}: {counts}", *waiting, *skipped])
    if made.planned == 0:
        from orthostat.steps.settle import settle_run  # zones, and what is released

        settled = settle_run(made)
        if settled is not None:
            return {"note": f"{note}; {settled}", "work": [], "unneeded": list(_AFTER_PLAN)}
    return {
        "note": note,
        "work": list(made.batches),
        "planned": {"predict": made.planned},
        "unneeded": [] if made.planned else ["verify"],
    }


def predict(arguments: argparse.Namespace) -> Result:
    """Predict one batch."""
    from orthostat.prediction.launch import launched_early

    with launched_early() as early:  # it imports while this process does
        _predict(arguments, early)
    return {}


def _predict(arguments: argparse.Namespace, early: "Launched") -> None:
    from orthostat.pipelines.allow import AllowList, read_allow_list
    from orthostat.planning.manifest import read_batch
    from orthostat.prediction.batch import predict_batch

    batch = read_batch(arguments.uri)
    bundle = batch.recipe.bundle, batch.recipe.sha256
    read_allow_list().require_bundle(*bundle)
    if arguments.sha256:
        AllowList(digests=(arguments.sha256,)).require_bundle(*bundle)
    predict_batch(batch, arguments.overloads, early)


def verify(arguments: argparse.Namespace) -> Result:
    """Compare the plan with what lies in S3."""
    from orthostat.judgement.verify import describe_failures, verify
    from orthostat.planning.plan import read_plan

    verification = verify(read_plan(arguments.root, arguments.run_id))
    failures = f"; failed: {describe_failures(verification)}" if verification.failures else ""
    return {"note": f"{len(verification.committed)} of {verification.planned} scenes predicted{failures}"}


def judge(arguments: argparse.Namespace) -> Result:
    """Judge the predictions and return the manifests of the tiles to compose."""
    from orthostat.planning.plan import read_plan
    from orthostat.steps.judge import judge_run

    work, note = judge_run(read_plan(arguments.root, arguments.run_id))
    return {
        "note": note,
        "work": list(work.work_uris),
        "planned": {"compose": work.tiles, "tabulate": work.tiles},
        "unneeded": [] if work.periods else ["estimate"],
    }


def compose(arguments: argparse.Namespace) -> Result:
    """Compose the tiles of one manifest."""
    from orthostat.aggregation.compose import compose
    from orthostat.aggregation.work import Progress, read_work

    works = read_work(arguments.uri).works
    progress = Progress(works)
    for work in works:
        compose(work, progress.advance)
    return {}


def tabulate(arguments: argparse.Namespace) -> Result:
    """Tabulate the tiles of one manifest."""
    from orthostat.aggregation.tabulate import tabulate
    from orthostat.aggregation.work import Progress, read_work

    works = read_work(arguments.uri).works
    progress = Progress(works)
    for work in works:
        tabulate(work, progress.advance)
    return {}


def estimate(arguments: argparse.Namespace) -> Result:
    """Sum up each period, check its identities and add what the reference sample says."""
    from orthostat.planning.plan import read_plan
    from orthostat.steps.work import read_run_work

    plan = read_plan(arguments.root, arguments.run_id)
    periods = read_run_work(plan).periods
    if not periods:
        return {"note": "no period changed"}
    from orthostat.steps.estimate import estimate_run  # pandas and pandera: seconds that others save

    return {"note": estimate_run(plan, periods)}


def release(arguments: argparse.Namespace) -> Result:
    """Release the changed periods."""
    from orthostat.planning.plan import read_plan
    from orthostat.steps.release import release_run

    return {"note": release_run(read_plan(arguments.root, arguments.run_id))}


def gate(arguments: argparse.Namespace) -> Result:
    """Fail when too many scenes failed."""
    from orthostat.judgement.verify import require_tolerance
    from orthostat.planning.plan import read_plan

    return {"note": require_tolerance(read_plan(arguments.root, arguments.run_id))}


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no ISO 8601 time; write e.g. 2024-01-01T00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"'{text}' has no UTC offset; write e.g. 2024-01-01T00:00:00+00:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no time of the years 1 to 9999 in UTC") from error


_WORK_STEPS: dict[str, tuple[Callable[[argparse.Namespace], Result], str, str]] = {
    "predict": (predict, "predict the scenes of one batch", "--batch"),
    "compose": (
        compose,
        "compose the tiles of one manifest: one class per ground pixel, each object once",
        "--work",
    ),
    "tabulate": (
        tabulate,
        "measure class areas, or count objects, per zone in the tiles of one manifest",
        "--work",
    ),
}
_RUN_STEPS: dict[str, tuple[Callable[[argparse.Namespace], Result], str]] = {
    "verify": (verify, "prove from S3 that every planned scene has an Item or a failure record"),
    "judge": (judge, "give every prediction a verdict and plan the periods that changed"),
    "estimate": (estimate, "sum up each period, check its identities, add the sample's estimates"),
    "release": (release, "write a new version of the table where figures changed"),
    "gate": (gate, "fail when more scenes failed than the pipeline tolerates"),
}
_AFTER_PLAN = [name for name in (*_WORK_STEPS, *_RUN_STEPS) if name not in {"predict", "gate"}]
"""What a run that has nothing to do need not start: `predict` has no batch, and the gate ends every run."""
