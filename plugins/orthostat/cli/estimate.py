"""`orthostat estimate`: accuracies and areas from a stratified reference sample."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthostat.estimation.estimates import Estimate, PopulationEstimates

_log = logging.getLogger(__name__)
_FIGURES = ("estimate", "se", "ci_lower", "ci_upper")
_CLASS_MEASURES = ("users_accuracy", "producers_accuracy", "area_proportion", "area")
_DESCRIPTION = """\
Design-based estimates from a stratified random sample: overall accuracy, and per class user's accuracy,
producer's accuracy, share of the area and area, each with its standard error and 95 % interval.
Strata need not be map classes (Stehman 2014); where they are, --no-finite-population --interval normal gives
the figures of Olofsson et al. (2014). A unit whose reference_class is "uninterpreted" is left out, as if it
had not been drawn; one whose map_class is "unobserved" or "nodata" has no say in the accuracies.
Files are CSV or Parquet, local or s3://; columns beyond those named are ignored.
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "estimate",
        help="accuracies and areas with standard errors, from a stratified reference sample",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sample",
        required=True,
        metavar="FILE",
        help="a row per sample unit: stratum, map_class, reference_class (.csv or .parquet)",
    )
    parser.add_argument(
        "--strata",
        required=True,
        metavar="FILE",
        help="a row per stratum: stratum, size (population units) and, if known, area (.csv or .parquet)",
    )
    parser.add_argument(
        "--area-unit",
        default="units",
        metavar="UNIT",
        help="name of the areas' unit in the text table (default: %(default)s; areas are counted in units of "
        "size where the strata have no column 'area')",
    )
    parser.add_argument(
        "--no-finite-population",
        action="store_true",
        help="leave out the finite population correction 1 - n/N, as Olofsson et al. (2014) do",
    )
    parser.add_argument(
        "--interval",
        choices=["wilson", "normal"],
        default="wilson",
        help="wilson: score intervals, which hold near 0 and 1 too, as pipelines publish them (default); "
        "normal: estimate +- 1.96 standard errors, as the published examples have it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """Estimate from the two files; a dict for JSON, else a text table."""
    from orthostat.estimation.files import estimate_files

    estimates = estimate_files(
        arguments.sample, arguments.strata, not arguments.no_finite_population, arguments.interval
    )
    _report_degenerate(estimates)
    return _to_json(estimates) if arguments.json else _to_text(estimates, arguments.area_unit)


def _list_figures(estimates: "PopulationEstimates") -> "list[tuple[str, str, Estimate | None]]":
    """Every estimate as (measure, class, estimate); the class of the overall accuracy is empty."""
    figures: list[tuple[str, str, Estimate | None]] = [("overall_accuracy", "", estimates.overall_accuracy)]
    for measure in _CLASS_MEASURES:
        figures += [
            (measure, name, getattr(of_class, measure)) for name, of_class in estimates.classes.items()
        ]
    return figures


def _report_degenerate(estimates: "PopulationEstimates") -> None:
    for measure, name, estimate in _list_figures(estimates):
        if estimate is not None and estimate.is_degenerate and measure != "area":
            _log.info(
                "note: %s has a standard error of 0 because its sample units all agree; "
                "a larger sample is needed to know its precision",
                f"{measure} of class '{name}'" if name else measure,
            )


def _to_json(estimates: "PopulationEstimates") -> dict[str, Any]:
    return {
        "overall_accuracy": _to_figures(estimates.overall_accuracy),
        "classes": {
            name: {measure: _to_figures(getattr(of_class, measure)) for measure in _CLASS_MEASURES}
            for name, of_class in estimates.classes.items()
        },
        "sample": {
            "interpreted": estimates.sample_size,
            "mapped": estimates.mapped_size,
            "uninterpreted": estimates.uninterpreted_size,
        },
    }


def _to_figures(estimate: "Estimate | None") -> dict[str, float | None]:
    return {figure: None if estimate is None else getattr(estimate, figure) for figure in _FIGURES}


def _to_text(estimates: "PopulationEstimates", area_unit: str) -> str:
    lines: list[tuple[str, ...]] = [("measure", "class", *_FIGURES)]
    for measure, name, estimate in _list_figures(estimates):
        title, decimals = (f"area [{area_unit}]", 3) if measure == "area" else (measure, 6)
        figures = _to_figures(estimate).values()
        lines.append((title, name, *("-" if x is None else f"{x:.{decimals}f}" for x in figures)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        [*(_align(line, widths) for line in lines), "", f"{_describe_sample(estimates)}; ci: 95 % interval"]
    )


def _describe_sample(estimates: "PopulationEstimates") -> str:
    said = [f"{estimates.sample_size} units"]
    if estimates.mapped_size < estimates.sample_size:
        said.append(f"accuracies from {estimates.mapped_size} that the map shows")
    if estimates.uninterpreted_size:
        said.append(f"{estimates.uninterpreted_size} more not interpreted")
    return ", ".join(said)


def _align(cells: tuple[str, ...], widths: list[int]) -> str:
    """Measure and class to the left, figures to the right."""
    left = (cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True))
    right = (cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True))
    return "  ".join([*left, *right])
