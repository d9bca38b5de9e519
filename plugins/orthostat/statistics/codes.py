"""The words and codes of the tables that leave Orthostat."""

from typing import Any

Row = dict[str, Any]
"""One row of a table: a value or None per column."""

STATUS_MEANINGS = {
    "A": "normal",
    "B": "break in the series",
    "D": "definition differs",
    "E": "estimated",
    "F": "forecast",
    "G": "experimental",
    "H": "missing, holiday or weekend",
    "I": "imputed",
    "L": "missing, not collected",
    "M": "missing, cannot exist",
    "N": "not significant",
    "O": "missing",
    "P": "provisional",
    "Q": "missing, suppressed",
    "U": "low reliability",
    "V": "unvalidated",
}
"""Codes of SDMX CL_OBS_STATUS and what they say."""
MISSING_STATUSES = frozenset("HLMOQ")
"""Statuses of a row that has no value."""
MAP_COUNT = "MAP_COUNT"
STRATIFIED = "STRATIFIED"
AREA = "AREA"
COUNT = "COUNT"
ZONE = "zone"
"""The population of a figure that is about its zone."""
OPEN = "open"
CLOSED = "closed"
PROVENANCE = frozenset(
    [
        "inputs_sha256",
        "code_version",
        "model_sha256",
        "boundary_version",
        "sample_id",
        "scene_count",
        "zone_name",
    ]
)
"""Columns that say where a figure comes from, or what its zone is called: when nothing else differs, it is
the same figure."""
