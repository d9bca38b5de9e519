"""The catalog of a pipeline: one file in S3 that says what is current, written after everything it names."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat import settings, storage
from orthostat.errors import MissingError, ReleaseError
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.outputs import require_own_output
from orthostat.statistics.database import migrate, open_database
from orthostat.statistics.vintages import Release, read_periods, read_release_ids, read_releases


def publish(pipeline: Pipeline) -> str | None:
    """Write what files of the pipeline's releases are missing, then the catalog; returns its URI.

    Whoever comes next does the work of one who was killed. None, and no file, when nothing is released.
    Raises ConfigurationError when the catalog there is another pipeline's.
    """
    database_url, layout = settings.database_url(), Layout(pipeline.output)
    migrate(database_url)
    with open_database(database_url) as connection:
        releases = read_releases(connection, pipeline.name)
    if not releases:
        return None
    require_own_output(pipeline)
    whole = _find_whole(layout)
    for release in releases:
        if release.release_id not in whole:
            from orthostat.statistics.exports import write_release  # matplotlib and pandas, rarely needed

            write_release(pipeline, release)
    with open_database(database_url) as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"orthostat catalog {layout.catalog()}"},
        )
        require_own_output(pipeline)
        storage.write_json(layout.catalog(), _make_catalog(connection, pipeline))
    return layout.catalog()


def read_catalog(layout: Layout) -> Mapping[str, Any]:
    """The catalog of a pipeline; one without releases when there is none."""
    try:
        found: dict[str, Any] = storage.read_json(layout.catalog())
    except MissingError:
        return {"releases": [], "periods": {}}
    return found


def find_leftovers(pipeline: Pipeline) -> list[str]:
    """URIs of files below `releases/` that belong to no release in the database.

    Raises ReleaseError when the catalog names a release that the database does not have: it is another, or
    an older one, and what is published is no leftover; ConfigurationError when it is another pipeline's.
    """
    require_own_output(pipeline)
    layout = Layout(pipeline.output)
    with open_database(settings.database_url()) as connection:
        known = read_release_ids(connection)  # of all: the pipeline may have had another name
    named = [entry["release_id"] for entry in read_catalog(layout)["releases"]]
    unknown = [release_id for release_id in named if release_id not in known]
    if unknown:
        raise ReleaseError(
            f"{layout.catalog()} names {len(unknown)} release(s) that the database does not have, such as "
            f"{unknown[-1]}; connect to the database that made them, or remove the catalog if they are void"
        )
    folder = layout.releases()
    return [
        entry.uri
        for entry in storage.list_objects(folder)
        if "/" in entry.uri.removeprefix(folder)
        and entry.uri.removeprefix(folder).partition("/")[0] not in known
    ]


def _find_whole(layout: Layout) -> set[str]:
    """Ids of the releases that have all their files; of older ones, which are not current, the last."""
    sizes = {entry.uri: entry.size_bytes for entry in storage.list_objects(layout.releases())}
    written = {uri for uri in sizes if uri.endswith("/release.json")}
    whole = {uri.removeprefix(layout.releases()).partition("/")[0] for uri in written}
    catalog = read_catalog(layout)
    known = {entry["release_id"] for entry in catalog["releases"]}
    expected = [(entry["release_id"], entry["uri"], entry["files"]) for entry in catalog["periods"].values()]
    for release_id in whole - known:
        described = storage.read_json(layout.release(release_id, "release.json"))
        for period, entry in described["periods"].items():
            expected.append((release_id, layout.release(release_id, period), entry["files"]))
    broken = {
        release_id
        for release_id, folder, files in expected
        if any(sizes.get(storage.join(folder, name)) != facts["size_bytes"] for name, facts in files.items())
    }
    return whole - broken


def _make_catalog(connection: Connection, pipeline: Pipeline) -> dict[str, Any]:
    """The releases whose files are all there, and where each period's figures lie as of the last of them."""
    layout = Layout(pipeline.output)
    before, whole = read_catalog(layout), _find_whole(layout)
    releases = []
    for release in read_releases(connection, pipeline.name):
        if release.release_id not in whole:
            break  # another process is writing it, and the catalog after it
        releases.append(release)
    if not releases:
        return {**before, "pipeline": pipeline.name, "title": pipeline.title, "current": None}
    return {
        "pipeline": pipeline.name,
        "title": pipeline.title,
        "current": releases[-1].release_id,
        "releases": [{**vars(release), "uri": layout.release(release.release_id)} for release in releases],
        "periods": _describe_periods(connection, layout, releases[-1], before["periods"]),
    }


def _describe_periods(
    connection: Connection, layout: Layout, current: Release, before: Mapping[str, Any]
) -> dict[str, Any]:
    breaks = _read_breaks(connection, current)
    periods = {}
    for held in read_periods(connection, current):
        entry = before.get(held.period)
        if entry is None or entry["release_id"] != held.release_id:
            described = storage.read_json(layout.release(held.release_id, "release.json"))
            entry = {
                "release_id": held.release_id,
                "vintage": held.vintage,
                "uri": layout.release(held.release_id, held.period),
                "files": described["periods"][held.period]["files"],
            }
        periods[held.period] = {**entry, "breaks": breaks.get(held.period, [])}
    return periods


def _read_breaks(connection: Connection, release: Release) -> dict[str, list[str]]:
    """By period, what makes its figures another series than the period before."""
    found = connection.execute(
        text(
            "SELECT period, array_agg(DISTINCT break_note ORDER BY break_note) FROM vintage_observation "
            "WHERE pipeline = :pipeline AND as_of = :vintage AND is_break GROUP BY period"
        ),
        {"pipeline": release.pipeline, "vintage": release.vintage},
    )
    return {period: list(notes) for period, notes in found}
