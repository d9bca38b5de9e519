"""`orthostat scenes`: withdraw a scene from a pipeline's figures, or let it count again."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthostat.pipelines.config import Pipeline


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "scenes",
        help="withdraw scenes from a pipeline's figures",
        description="Say which scenes count. The next run over a scene's period revises its figures.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, run, help_text in _ACTIONS:
        action = actions.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        action.add_argument("--pipeline", required=True, metavar="NAME", help="name of the pipeline file")
        if name != "withdrawn":
            action.add_argument("--scene-id", required=True, metavar="ID", help="id of the scene")
        if name == "withdraw":
            action.add_argument(
                "--reason", required=True, metavar="TEXT", help="why, for whoever reads of it"
            )
        action.set_defaults(run=run)


def withdraw(arguments: argparse.Namespace) -> dict[str, Any]:
    """Record the withdrawal. Raises SceneError for a scene that the archive does not have."""
    from orthostat.layout import Layout
    from orthostat.pipelines.window import period_of
    from orthostat.scenes.archive import find_acquired
    from orthostat.scenes.withdrawals import withdraw

    pipeline = _find_owner(arguments.pipeline)
    acquired = find_acquired(pipeline.scenes, arguments.scene_id)
    withdrawal = withdraw(Layout(pipeline.output), arguments.scene_id, arguments.reason)
    period = period_of(acquired, pipeline.period)
    return {
        **withdrawal.model_dump(mode="json"),
        "period": period,
        "next": f"run {pipeline.name} over {period}",
    }


def restore(arguments: argparse.Namespace) -> dict[str, Any]:
    """Remove the record. Raises SceneError when there is none."""
    from orthostat.layout import Layout
    from orthostat.scenes.withdrawals import restore

    restore(Layout(_find_owner(arguments.pipeline).output), arguments.scene_id)
    return {"scene_id": arguments.scene_id, "is_withdrawn": False}


def list_withdrawn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every withdrawn scene with its reason."""
    from orthostat.layout import Layout
    from orthostat.pipelines.load import find_pipeline
    from orthostat.scenes.withdrawals import read_withdrawals

    return dict(read_withdrawals(Layout(find_pipeline(arguments.pipeline).output)))


def _find_owner(name: str) -> "Pipeline":
    """The pipeline, which must own its output: a withdrawal changes figures. Raises ConfigurationError."""
    from orthostat.pipelines.load import find_pipeline, load_all
    from orthostat.pipelines.outputs import require_own_output

    pipeline = find_pipeline(name)
    require_own_output(pipeline, load_all())
    return pipeline


_ACTIONS = (
    ("withdraw", withdraw, "no longer predict a scene or let figures rest on it"),
    ("restore", restore, "let a withdrawn scene count again"),
    ("withdrawn", list_withdrawn, "list the withdrawn scenes with their reasons"),
)
