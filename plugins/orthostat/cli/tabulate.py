"""`orthostat tabulate`: class areas per zone from class rasters, outside any pipeline."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthostat.aggregation.zones import ZoneSet

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Area of each class in each zone, in m2, with the zone's area, its valid area and its coverage.

Border pixels count with the share that lies inside the zone. Areas are those of the ellipsoid, in a projected
system (Web Mercator is refused) as in a geographic one. Several rasters must lie on one grid; every ground
pixel then counts once: valid pixels beat nodata, and where several are valid, the file with the greatest name
wins, whatever the order on the command line. Zones may lie on one another; a note says so."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "tabulate",
        help="class areas per zone from class rasters",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--labels",
        metavar="URI",
        action="append",
        required=True,
        help="single-band integer raster of class ids, local or s3://; may be given several times",
    )
    parser.add_argument(
        "--zones",
        metavar="URI",
        required=True,
        help="GeoPackage, GeoJSON, GeoParquet or zipped shapefile with polygons in any coordinate system",
    )
    parser.add_argument(
        "--zone-id", metavar="COLUMN", required=True, help="column of the zones with their unique ids"
    )
    parser.add_argument(
        "--nodata",
        metavar="VALUE",
        type=int,
        help="value of pixels without a class; default: what the raster itself marks as nodata, if anything",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """Tabulate; the result as a dict with `--json`, else as an aligned table."""
    from orthostat.aggregation.labels import tabulate_labels
    from orthostat.aggregation.zones import read_zones

    zones = read_zones(arguments.zones, arguments.zone_id)
    _warn_of_overlaps(zones)
    logger.info("tabulating %d raster(s) in %d zones", len(set(arguments.labels)), len(zones.ids))
    result = {
        zone_id: {
            "zone_area_m2": areas.zone_area_m2,
            "valid_area_m2": areas.valid_area_m2,
            "nodata_m2": areas.nodata_m2,
            "unobserved_m2": areas.unobserved_m2,
            "coverage": areas.coverage,
            "classes": {str(class_id): area_m2 for class_id, area_m2 in areas.classes.items()},
        }
        for zone_id, areas in tabulate_labels(arguments.labels, zones, arguments.nodata).items()
    }
    return {"zones": result} if arguments.json else format_table(result)


def _warn_of_overlaps(zones: "ZoneSet") -> None:
    """Zones may overlap here, as buffers do; whoever adds their areas up must know."""
    from orthostat.aggregation.hierarchy import check_overlaps
    from orthostat.errors import ZonesError

    try:
        check_overlaps(zones)
    except ZonesError as error:
        logger.info("note: %s: do not add their areas up", str(error).partition(";")[0])


def format_table(zones: dict[str, dict[str, Any]]) -> str:
    """One row per zone, one column per class; areas in m2 with one decimal."""
    class_ids = sorted({class_id for zone in zones.values() for class_id in zone["classes"]}, key=int)
    header = ["zone", "zone_area_m2", "valid_area_m2", "coverage", *(f"class_{c}_m2" for c in class_ids)]
    rows = [header]
    for zone_id, zone in zones.items():
        areas = [zone["classes"].get(class_id, 0.0) for class_id in class_ids]
        rows.append(
            [
                zone_id,
                f"{zone['zone_area_m2']:.1f}",
                f"{zone['valid_area_m2']:.1f}",
                f"{zone['coverage']:.4f}",
                *(f"{area:.1f}" for area in areas),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
