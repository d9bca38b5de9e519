"""The demo's figures next to what is known."""

import csv
from collections.abc import Sequence
from pathlib import Path

from orthostat.statistics.codes import MAP_COUNT, Row


def compare_with_boxes(rows: Sequence[Row], truth_path: Path) -> str:
    """How many objects the model counts in each zone, and how many people boxed."""
    with truth_path.open(newline="") as file:
        boxed = {line["zone_id"]: int(line["count"]) for line in csv.DictReader(file)}
    counted = {row["zone_id"]: row["object_count"] for row in rows if row["indicator"] == "COUNT"}
    names = {row["zone_id"]: row["zone_name"] for row in rows}
    lines = [
        f"{zone_id}  {names[zone_id]:<12}  counted {counted[zone_id]:>4}  boxed {boxed[zone_id]:>4}  "
        f"ratio {counted[zone_id] / boxed[zone_id]:.2f}"
        for zone_id in sorted(boxed)
    ]
    total, true = sum(counted.values()), sum(boxed.values())
    return "\n".join(
        [*lines, f"all               counted {total:>4}  boxed {true:>4}  ratio {total / true:.2f}"]
    )


def compare_with_truth(rows: Sequence[Row], truth_path: Path) -> str:
    """How far counts and estimates are from the truth, and how often an interval holds it."""
    with truth_path.open(newline="") as file:
        truth = {
            (line["period"], line["zone_id"], line["class_name"]): float(line["area_m2"])
            for line in csv.DictReader(file)
        }
    lines = []
    held = estimated = 0
    for row in rows:
        if row["method"] == MAP_COUNT or row["area_m2"] is None:
            continue
        true = truth[row["period"], row["zone_id"], row["class_name"]]
        inside = row["ci_lower_m2"] <= true <= row["ci_upper_m2"]
        held, estimated = held + inside, estimated + 1
        lines.append(
            f"{row['period']}  {row['zone_id']}  {row['class_name']:<8}  truth {true / 1e6:7.3f}  "
            f"mapped {row['mapped_area_m2'] / 1e6:7.3f}  estimate {row['area_m2'] / 1e6:7.3f}  "
            f"[{row['ci_lower_m2'] / 1e6:.3f}, {row['ci_upper_m2'] / 1e6:.3f}] "
            f"{'' if inside else 'misses the truth'}"
        )
    lines.append(f"(km2; the reference sample is SIMULATED) {held} of {estimated} intervals hold the truth")
    return "\n".join(line.rstrip() for line in lines)
