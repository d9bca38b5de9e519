"""What readers of the files rely on."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rasterio.transform import from_origin
from shapely import box

from orthostat.aggregation.zones import read_zones
from orthostat.errors import ReleaseError
from orthostat.statistics.cartography import dump_png, label_zones
from orthostat.statistics.check import check_rows
from orthostat.statistics.codes import Row
from orthostat.statistics.composite import draw_composite
from orthostat.statistics.display import _find_decimals, _km2, format_table
from orthostat.statistics.maps import _Scale, draw_map
from orthostat.statistics.schema import OBSERVATIONS
from orthostat.statistics.tables import digest_figures, dump_csv, dump_parquet, read_parquet
from tests.builders import make_pipeline
from tests.builders_statistics import CLASSES, SAMPLE, make_tables, write_zones

TABLE = check_rows(make_tables(pipeline=make_pipeline(sample=SAMPLE))["observation"], OBSERVATIONS)
ROWS = [
    row
    | {
        "release_id": "v1-0123456789ab",
        "is_break": row["zone_id"] == "b",
        "break_note": "model" if row["zone_id"] == "b" else None,
    }
    for row in TABLE.to_pylist()
]


def test_csv_keeps_all_digits_and_tells_empty_from_zero() -> None:
    row = {"a": 0.1 + 0.2, "b": None, "c": 0.0, "d": True, "e": 'x, "y"', "f": 7, "g": "ü\nz"}
    assert dump_csv(pa.Table.from_pylist([row])).decode() == (
        'a,b,c,d,e,f,g\n0.30000000000000004,,0,true,"x, ""y""",7,"ü\nz"\n'
    )


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_gives_every_number_back_to_the_last_bit(numbers: list[float]) -> None:
    lines = dump_csv(pa.table({"number": pa.array(numbers, pa.float64())})).decode().splitlines()
    assert [float(line) for line in lines[1:]] == numbers


def test_parquet_has_the_types_of_the_schema_and_gives_the_rows_back() -> None:
    table = read_parquet(dump_parquet(TABLE))
    assert table.column_names == list(OBSERVATIONS.columns)
    names = ("zone_id", "class_id", "area_m2", "is_simulated")
    types = {name: str(table.schema.field(name).type) for name in names}
    assert types == {"zone_id": "string", "class_id": "int64", "area_m2": "double", "is_simulated": "bool"}
    assert table.schema.field("area_m2").metadata[b"description"].startswith(b"The published figure")
    assert table == TABLE


def test_equal_rows_are_equal_bytes() -> None:
    again = check_rows(TABLE.to_pylist()[::-1], OBSERVATIONS)
    assert dump_parquet(TABLE) == dump_parquet(again)
    assert dump_csv(TABLE) == dump_csv(again)


def figures(**changes: object) -> str:
    rows = [dict(row) for row in TABLE.to_pylist()]
    rows[0] |= changes
    return digest_figures(pa.Table.from_pylist(rows, TABLE.schema), OBSERVATIONS)


def test_figures_are_the_same_whatever_they_come_from() -> None:
    same = digest_figures(TABLE, OBSERVATIONS)
    assert figures() == same
    assert figures(inputs_sha256="9" * 64, model_sha256="8" * 64, code_version="9", scene_count=7) == same
    assert digest_figures(TABLE.slice(0), OBSERVATIONS) == same
    for change in (
        {"area_m2": 250_000.00000000003},
        {"area_m2": None},
        {"mapped_area_m2": 0.0},
        {"mapped_area_m2": None},
        {"obs_note": None},
        {"obs_note": ""},
        {"period_state": "open"},
        {"is_simulated": True},
    ):
        assert figures(**change) != same, change
    assert figures(zone_id="ab", zone_name="c") != figures(zone_id="a", zone_name="bc")
    assert digest_figures(TABLE.slice(1), OBSERVATIONS) != same


def test_the_terminal_table_shows_interval_coverage_and_a_legend_of_the_codes_that_occur() -> None:
    lines = format_table(ROWS).splitlines()
    (estimate,) = [line for line in lines if "water" in line and "STRATIFIED" in line]
    words = "2024-01 a Aland water STRATIFIED (simulated) 0.200 0.161 to 0.239 10.0 95.00 G"
    assert " ".join(estimate.split()) == words
    (empty,) = [line for line in lines if "Bland" in line and "crop" in line]
    assert " ".join(empty.split()) == "2024-01 b Bland crop MAP_COUNT - - - 50.00 O break"
    assert "O: missing" in lines
    assert "note: coverage 0.5 is below 0.8" in lines
    assert not any(line.startswith("P:") for line in lines)


@pytest.fixture
def zones(tmp_path: Path) -> object:
    """The zones as the release reads them."""
    uri = str(tmp_path / "zones.geojson")
    write_zones(uri)
    return read_zones(uri, "zone_id", "name").to_frame().to_crs("EPSG:32633")


def changed(class_name: str, **changes: object) -> list[Row]:
    return [row | changes if row["class_name"] == class_name else row for row in ROWS]


def test_a_map_is_the_same_bytes_again_and_another_with_other_figures(zones: object) -> None:
    png = draw_map(ROWS, zones, "Made")
    assert png == draw_map(ROWS, zones, "Made")
    assert png.startswith(b"\x89PNG")
    assert png != draw_map(changed("crop", area_m2=400_000.0), zones, "Made")
    assert png != draw_map([row | {"is_simulated": False} for row in ROWS], zones, "Made")


def test_a_map_shows_pixel_counts_where_every_estimate_was_refused(zones: object) -> None:
    refused = {"area_m2": None, "obs_status": "O"}
    rows = [row | refused if row["method"] == "STRATIFIED" else row for row in ROWS]
    counts = [row for row in ROWS if row["method"] == "MAP_COUNT"]
    assert draw_map(rows, zones, "Made") == draw_map(counts, zones, "Made")


def test_counts_from_part_of_a_zone_are_dotted_and_estimates_are_not(zones: object) -> None:
    counts = [row for row in ROWS if row["method"] == "MAP_COUNT"]
    assert draw_map(counts, zones, "Made", 0.96) != draw_map(counts, zones, "Made", 0.95)
    assert draw_map(ROWS, zones, "Made", 0.96) == draw_map(ROWS, zones, "Made", 0.95)


def test_all_classes_of_a_page_have_one_scale(zones: object) -> None:
    """A class that grows changes the shades of the others, too."""
    scale = _Scale(ROWS, {"a"})
    assert scale.limit == 0.8  # crop; water has 0.2
    assert [scale.write(row).split("\n")[0] for row in ROWS if row["method"] == "STRATIFIED"] == [
        "20.0%",
        "80.0%",
    ]
    assert scale.write(ROWS[1]) == "20.0%\n(16.1 to 23.9)"


def test_labels_that_would_lie_on_one_another_are_left_out_smaller_zones_first() -> None:
    figure = Figure(figsize=(3, 3))
    axis = figure.subplots()
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 100)
    boxes = {"small": box(48, 48, 52, 52), "large": box(0, 40, 100, 60), "far": box(40, 80, 60, 99)}
    beyond = {"beyond": box(99, 0, 300, 10)}
    zones = gpd.GeoDataFrame({"zone_id": [*boxes, *beyond]}, geometry=[*boxes.values(), *beyond.values()])
    words = {zone_id: zone_id for zone_id in zones["zone_id"]} | {"far": f"{'far ' * 50}\n1 %"}
    label_zones(axis, zones, words)
    dump_png(figure)
    assert {text.get_text() for text in axis.texts if text.get_visible()} == {"large", "1 %"}


@pytest.mark.parametrize(
    ("area_m2", "se_m2", "words"),
    [
        (1_234_567_890.0, 45_600_000.0, "1,235"),
        (1_234_567_890.0, 456_000_000.0, "1,230"),
        (1_234_567_890.0, 9_990.0, "1,234.5679"),
        (1_234_567.0, None, "1.23"),
        (123_456_789_000.0, None, "123,000"),
        (0.0, None, "0"),
    ],
)
def test_figures_are_rounded_to_what_their_errors_justify(
    area_m2: float, se_m2: float | None, words: str
) -> None:
    row = ROWS[0] | {"area_m2": area_m2, "std_err_m2": se_m2}
    assert _km2(area_m2, _find_decimals(row)) == words


def test_a_map_of_zones_that_the_file_lacks_is_refused(zones: object) -> None:
    with pytest.raises(ReleaseError, match=r"has the zones \['c'\], which the zones file lacks"):
        draw_map([ROWS[0] | {"zone_id": "c"}], zones, "Made")


def test_the_composite_is_drawn_from_its_tiles_in_any_order(zones: object, tmp_path: Path) -> None:
    uris = []
    for number in range(2):
        pixels = np.full((50, 50), number, dtype=np.uint8)
        pixels[:5], pixels[-5:] = 254, 255
        path = tmp_path / f"{number}_0.tif"
        transform = from_origin(500_000 + number * 1000, 4_984_000, 20, 20)
        with rasterio.open(
            path, "w", "GTiff", 50, 50, 1, "EPSG:32633", transform, "uint8", nodata=255
        ) as tile:
            tile.write(pixels, 1)
        uris.append(str(path))
    png = draw_composite(uris, CLASSES, zones, "Made, 2024-01")
    assert png == draw_composite(uris[::-1], CLASSES, zones, "Made, 2024-01")
    assert png != draw_composite(uris[:1], CLASSES, zones, "Made, 2024-01")
