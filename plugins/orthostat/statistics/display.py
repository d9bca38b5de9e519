"""The statistics as a table that a person reads in a terminal, rounded to what their errors justify."""

import math
from collections.abc import Mapping, Sequence

from orthostat.statistics.codes import AREA, COUNT, MAP_COUNT, STATUS_MEANINGS, STRATIFIED, Row

_FIGURES = {AREA: ("area km2", "95 % interval km2", "CV %"), COUNT: ("objects",)}
"""Columns of an indicator; those of an indicator that does not occur are left out."""
_NUMBERS = {name for names in _FIGURES.values() for name in names} | {"coverage %"}
_METHODS = {
    (AREA, MAP_COUNT): "counted pixels times their area; not an estimate, no interval",
    (COUNT, MAP_COUNT): "counted objects, each once; not an estimate, no interval",
    (AREA, STRATIFIED): "estimate from a stratified reference sample, with its confidence interval",
}


def format_table(rows: Sequence[Row]) -> str:
    """Rows of the statistics by period, zone and class, with a legend of the codes that occur."""
    if not rows:
        return "no rows"
    ordered = sorted(rows, key=lambda row: (row["period"], row["zone_id"], row["class_id"], row["method"]))
    figures = [name for kind in sorted(_values(rows, "indicator")) for name in _FIGURES[kind]]
    header = ["period", "zone", "class", "method", *figures, "coverage %", "status"]
    cells = [{name: name for name in header}, *(_format_row(row) for row in ordered)]
    widths = {name: max(len(line.get(name, "-")) for line in cells) for name in header}
    lines = [_align(line, widths) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths.values()))
    return "\n".join([*lines, "", *_explain(ordered)])


def _format_row(row: Row) -> dict[str, str]:
    """Cells by column; a column without one shows '-'."""
    zone = row["zone_name"] if row["zone_name"] == row["zone_id"] else f"{row['zone_id']} {row['zone_name']}"
    cells = {
        "period": row["period"],
        "zone": zone,
        "class": row["class_name"],
        "method": row["method"] + (" (simulated)" if row["is_simulated"] else ""),
        "coverage %": f"{100 * row['coverage']:.2f}",
        "status": row["obs_status"] + (" break" if row.get("is_break") else ""),
    }
    decimals = _find_decimals(row)
    if row["area_m2"] is not None:
        cells["area km2"] = _km2(row["area_m2"], decimals)
    if row["object_count"] is not None:
        cells["objects"] = f"{row['object_count']:,}"
    if row["ci_lower_m2"] is not None:
        cells["95 % interval km2"] = " to ".join(
            _km2(row[name], decimals) for name in ("ci_lower_m2", "ci_upper_m2")
        )
    if row["cv_pct"] is not None:
        cells["CV %"] = f"{row['cv_pct']:.1f}"
    return cells


def _find_decimals(row: Row) -> int:
    """Decimals of a figure in km2: two digits of its standard error; of a count, whose error nobody knows,
    three digits of the figure. Negative ones round to tens and more.
    """
    value, error = row["area_m2"], row["std_err_m2"]
    if value is not None and error is None and row["ci_upper_m2"] is not None:
        error = (row["ci_upper_m2"] - row["ci_lower_m2"]) / 4
    if error:
        return 1 - math.floor(math.log10(error / 1e6))
    return 2 - math.floor(math.log10(value / 1e6)) if value else 0


def _km2(area_m2: float, decimals: int) -> str:
    return f"{round(area_m2 / 1e6, decimals):,.{max(0, decimals)}f}"


def _align(line: Mapping[str, str], widths: Mapping[str, int]) -> str:
    padded = [
        line.get(name, "-").rjust(width) if name in _NUMBERS else line.get(name, "-").ljust(width)
        for name, width in widths.items()
    ]
    return "  ".join(padded).rstrip()


def _explain(rows: Sequence[Row]) -> list[str]:
    lines = ["Figures are rounded to what their errors justify; files keep all digits."]
    lines += ["coverage %: share of the zone's area that was observed. '-': nothing is published."]
    occurring = {(row["indicator"], row["method"]) for row in rows}
    lines += [f"{key[1]}: {words}" for key, words in _METHODS.items() if key in occurring]
    if any(row["is_simulated"] for row in rows):
        lines.append("(simulated): the reference sample is SIMULATED; the figure is no statistic")
    lines += [f"{code}: {STATUS_MEANINGS[code]}" for code in sorted(_values(rows, "obs_status"))]
    if any(row.get("is_break") for row in rows):
        reasons = sorted({row["break_note"] for row in rows if row.get("break_note")})
        lines.append(f"break: not comparable with the period before, by {'; '.join(reasons)}")
    notes = sorted({note for note in _values(rows, "obs_note") if note})
    return [*lines, *(f"note: {note}" for note in notes)]


def _values(rows: Sequence[Row], column: str) -> set[str]:
    return {row[column] for row in rows}
