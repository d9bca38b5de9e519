"""The statistics as a table that a person reads in a terminal."""

from collections.abc import Sequence

from orthostat.statistics.schema import MAP_COUNT, STATUS_MEANINGS, STRATIFIED, Row

_HEADER = (
    "period",
    "zone",
    "class",
    "method",
    "area km2",
    "95 % interval km2",
    "CV %",
    "coverage %",
    "status",
)
_METHODS = {
    MAP_COUNT: "counted pixels times their area; not an estimate, no interval",
    STRATIFIED: "estimate from a stratified reference sample, with its confidence interval",
}
_NUMBERS = {4, 5, 6, 7}


def format_table(rows: Sequence[Row]) -> str:
    """Rows of the statistics by period, zone and class, with a legend of the codes that occur."""
    if not rows:
        return "no rows"
    ordered = sorted(rows, key=lambda row: (row["period"], row["zone_id"], row["class_id"], row["method"]))
    cells = [_HEADER, *(_format_row(row) for row in ordered)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
    lines = [_align(line, widths) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_explain(ordered)])


def _format_row(row: Row) -> tuple[str, ...]:
    has_interval = row["ci_lower_m2"] is not None
    interval = f"{_km2(row['ci_lower_m2'])} to {_km2(row['ci_upper_m2'])}" if has_interval else "-"
    return (
        row["period"],
        row["zone_name"] if row["zone_name"] == row["zone_id"] else f"{row['zone_id']} {row['zone_name']}",
        row["class_name"],
        row["method"] + (" (simulated)" if row["is_simulated"] else ""),
        "-" if row["area_m2"] is None else _km2(row["area_m2"]),
        interval,
        "-" if row["cv_pct"] is None else f"{row['cv_pct']:.1f}",
        f"{100 * row['coverage']:.2f}",
        row["obs_status"] + (" break" if row.get("is_break") else ""),
    )


def _km2(area_m2: float) -> str:
    return f"{area_m2 / 1e6:,.3f}"


def _align(line: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _explain(rows: Sequence[Row]) -> list[str]:
    lines = ["coverage %: share of the zone's area that was observed. '-': nothing is published."]
    lines += [f"{method}: {words}" for method, words in _METHODS.items() if method in _values(rows, "method")]
    if any(row["is_simulated"] for row in rows):
        lines.append("(simulated): the reference sample is SIMULATED; the figure is no statistic")
    lines += [f"{code}: {STATUS_MEANINGS[code]}" for code in sorted(_values(rows, "obs_status"))]
    if any(row.get("is_break") for row in rows):
        lines.append("break: another model or other boundaries than in the period before")
    notes = sorted({note for note in _values(rows, "obs_note") if note})
    return [*lines, *(f"note: {note}" for note in notes)]


def _values(rows: Sequence[Row], column: str) -> set[str]:
    return {row[column] for row in rows}
