"""Whose an output is: two pipelines below one address would each take the other's files for leftovers."""

from collections.abc import Iterable

from orthostat import storage
from orthostat.errors import ConfigurationError, MissingError
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline


def require_separate_output(pipeline: Pipeline, others: Iterable[Pipeline]) -> None:
    """Raises ConfigurationError when another pipeline writes into the same output, or above or below it."""
    own = pipeline.output.rstrip("/") + "/"
    for other in others:
        theirs = other.output.rstrip("/") + "/"
        if other.name != pipeline.name and (own.startswith(theirs) or theirs.startswith(own)):
            raise ConfigurationError(
                f"the pipelines '{pipeline.name}' and '{other.name}' have the outputs {pipeline.output} and "
                f"{other.output}, where each would take the other's files for its own; give each pipeline an "
                "output of its own, none below another"
            )


def require_own_output(pipeline: Pipeline, others: Iterable[Pipeline] = ()) -> None:
    """Raises ConfigurationError when the output's catalog is another pipeline's, whoever has its file; where
    there is none yet, when one of the `others` writes there, too.
    """
    uri = Layout(pipeline.output).catalog()
    try:
        owner = storage.read_json(uri).get("pipeline", pipeline.name)
    except MissingError:
        require_separate_output(pipeline, others)
        return
    if owner != pipeline.name:
        raise ConfigurationError(
            f"the output {pipeline.output} is that of the pipeline '{owner}', as {uri} says; give "
            f"'{pipeline.name}' an output of its own, or, if '{owner}' writes there no more, remove that "
            "file: the next run makes it anew"
        )
