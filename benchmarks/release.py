"""`python -m benchmarks.release [--rows N]`: releasing a table against the slowest of its writers alone.

Ten periods of generated rows. The writers, each alone on the same tables: COPY into the table `observation`
of a PostgreSQL with its keys and triggers, Parquet files, CSV files. The release checks every row by the
schema, compares, commits by COPY and writes the files; maps are not drawn. Peak memory is the release's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlalchemy import text

from orthostat import storage
from orthostat.local import postgres, services
from orthostat.pipelines.config import Pipeline
from orthostat.statistics import database
from orthostat.statistics.copy import copy_in
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.release import release
from orthostat.statistics.result import PeriodResult, read_result, write_result
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import arrow_schema, digest_tables, dump_csv, dump_parquet

PERIODS = [f"{year}" for year in range(2010, 2020)]
LIMITS = {"ratio": 1.5, "peak_gb": 2.0}


def make_inputs(period: str) -> Inputs:
    """Made up."""
    names = (
        "scenes",
        "labels",
        "model",
        "options",
        "boundaries",
        "boundary_version",
        "zone_names",
        "grid",
        "rule",
    )
    return Inputs(
        **dict.fromkeys(names, f"{period} made up"),
        merge_threshold=0.5,
        sample=None,
        publication="made up",
        period_state="closed",
        steps="made up",
    )


def make_table(period: str, rows: int) -> pa.Table:
    """Counts of eight classes in many zones; a tenth of them withheld."""
    random = np.random.default_rng(int(period))
    zones, inputs = rows // 8, make_inputs(period)
    zone_area = np.repeat(random.uniform(1e8, 1e9, zones), 8)
    coverage = np.repeat(random.uniform(0.78, 1.0, zones), 8)
    share = random.dirichlet(np.ones(8), zones).ravel()
    is_shown = coverage >= 0.8
    area = pa.array(share * zone_area * coverage, mask=~is_shown)
    class_id = np.tile(np.arange(8), zones)
    columns = {
        "pipeline": "benchmark",
        "indicator": "AREA",
        "freq": "A",
        "zone_id": [f"Z{number:06d}" for number in range(zones) for _ in range(8)],
        "zone_name": [f"Municipality {number}" for number in range(zones) for _ in range(8)],
        "class_id": class_id,
        "class_name": [f"class {number}" for number in class_id],
        "period": period,
        "method": "MAP_COUNT",
        "area_m2": area,
        "mapped_area_m2": area,
        "population": "zone",
        "is_simulated": False,
        "zone_area_m2": zone_area,
        "valid_area_m2": zone_area * coverage,
        "coverage": coverage,
        "scene_count": 400,
        "period_state": "closed",
        "obs_status": np.where(is_shown, "G", "O"),
        "obs_note": np.where(is_shown, "pixel count: no reference sample behind it, no interval", "coverage"),
        "model_sha256": "0" * 64,
        "code_version": "0.1.0",
        "boundary_version": "2020",
        "inputs_sha256": inputs.sha256,
    }
    arrays = []
    for field in arrow_schema(OBSERVATIONS):
        value = columns.get(field.name)
        is_column = isinstance(value, list | np.ndarray | pa.Array)
        arrays.append(pa.array(value if is_column else [value] * len(class_id), field.type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(OBSERVATIONS))


def store_results(folder: Path, rows: int) -> None:
    """Results of all periods, as the estimate step leaves them."""
    for period in PERIODS:
        inputs = make_inputs(period)
        uri = str(folder / period)
        scene = {
            "period": period,
            "scene_id": "A",
            "item_uri": "item",
            "image_uri": "image",
            "image_etag": "etag",
            "inputs_sha256": inputs.sha256,
        }
        tables = {
            OBSERVATIONS.name: make_table(period, rows // len(PERIODS)),
            ACCURACY.name: arrow_schema(ACCURACY).empty_table(),
            LINEAGE.name: pa.Table.from_pylist([scene], arrow_schema(LINEAGE)),
        }
        result = PeriodResult(
            period=period,
            inputs=inputs,
            uri=uri,
            figures_sha256=digest_tables(tables),
            boundaries_uri="none",
        )
        write_result(result, tables)


def read_results(folder: Path) -> list[PeriodResult]:
    """What `store_results` wrote."""
    return [read_result(str(folder / period / "result.json")) for period in PERIODS]


def run_release(folder: Path) -> None:
    """The release, and its tables as files, in this process; prints seconds and peak memory in GB."""
    pipeline = Pipeline.model_construct(name="benchmark", title="Benchmark", output=str(folder / "made"))
    began, cpu = time.perf_counter(), time.process_time()
    summary = release(pipeline, "run", read_results(folder))
    assert summary.vintage == 1
    for result in read_results(folder):
        table = result.read(OBSERVATIONS)
        storage.write_bytes(str(folder / "made" / f"{result.period}.parquet"), dump_parquet(table))
        storage.write_bytes(str(folder / "made" / f"{result.period}.csv"), dump_csv(table))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, peak_gb]))


def write_rows(folder: Path, database_url: str) -> None:
    """COPY alone, as a release of the same size."""
    with database.open_database(database_url) as connection:
        connection.execute(
            text(
                "INSERT INTO release (release_id, pipeline, vintage, reason, run_id, code_version) "
                "VALUES ('alone', 'benchmark', 1, 'r', 'r', '0')"
            )
        )
        for result in read_results(folder):
            connection.execute(
                text("INSERT INTO release_period VALUES ('alone', :period, 'x')"), {"period": result.period}
            )
            copy_in(connection, OBSERVATIONS, "alone", result.read(OBSERVATIONS))


def write_files(folder: Path, dump: Callable[[pa.Table], bytes]) -> None:
    """Files of one kind alone."""
    for result in read_results(folder):
        (folder / f"alone-{result.period}").write_bytes(dump(result.read(OBSERVATIONS)))


@contextmanager
def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    """Two empty databases of a PostgreSQL of their own."""
    try:
        services.start_postgres(folder)
        urls = []
        for name in ("alone", "benchmark"):
            postgres.ensure_database(folder, name)
            urls.append(postgres.url(folder, name, "psycopg"))
            database.migrate(urls[-1])
        yield urls[0], urls[1]
    finally:
        services.stop_postgres(folder)


def main() -> None:
    """Print the seconds of each writer and of the release, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--release", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.release:
        run_release(arguments.release)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store_results(folder, arguments.rows)
        with _databases(folder / "postgres") as (other, url):
            writers: dict[str, Callable[[], None]] = {
                "copy": partial(write_rows, folder, other),
                "parquet": partial(write_files, folder, dump_parquet),
                "csv": partial(write_files, folder, dump_csv),
            }
            alone = {}
            for writer, run in writers.items():
                began = time.perf_counter()
                run()
                alone[writer] = round(time.perf_counter() - began, 1)
            command = [sys.executable, "-m", "benchmarks.release", "--release", name]
            variables = {**os.environ, "ORTHOSTAT_DATABASE_URL": url}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
            wall_s, cpu_s, peak_gb = json.loads(done.stdout)
    found = {
        "rows": arguments.rows,
        "alone_s": alone,
        "release_s": round(wall_s, 1),
        "release_cpu_s": round(cpu_s, 1),
        "ratio": round(wall_s / max(alone.values()), 2),
        "peak_gb": round(peak_gb, 2),
        "limits": LIMITS,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
