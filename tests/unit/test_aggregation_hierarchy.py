"""How zones lie to one another: overlaps are refused, parents may be made of their children."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS

from orthostat.aggregation.hierarchy import check_overlaps, dissolve_parents, read_pipeline_zones
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import ZonesError
from orthostat.pipelines.config import Zones


def make(parents=None, **boxes):
    ids = tuple(sorted(boxes))
    geometries = np.array([shapely.box(*boxes[zone_id]) for zone_id in ids])
    return ZoneSet(ids, ids, tuple((parents or {}).get(i) for i in ids), geometries, CRS(32633))


def test_neighbours_and_parents_do_not_overlap():
    check_overlaps(make({"a": "p", "b": "p"}, a=(0, 0, 1, 1), b=(1, 0, 2, 1), p=(0, 0, 2, 1), q=(2, 0, 3, 1)))


def test_a_border_that_is_not_drawn_vertex_by_vertex_is_no_overlap():
    check_overlaps(make(a=(0, 0, 1, 1), b=(1 - 1e-8, 0, 2, 1)))


def test_zones_of_one_level_on_one_another_are_named_with_their_share():
    with pytest.raises(ZonesError, match=r"1 pair.s. of zones overlap, 0 may: 'a' and 'b' \(25.00%\)"):
        check_overlaps(make(a=(0, 0, 4, 1), b=(3.75, 0, 4.75, 1)))
    with pytest.raises(ZonesError, match=r"2 pair.s. .* 'a' and 'b' \(100.00%\)"):
        check_overlaps(
            make({"b": "q", "a": "q"}, a=(0, 0, 4, 1), b=(1, 0, 2, 1), p=(0, 0, 1, 1), q=(0, 0, 4, 1))
        )


def test_parents_are_made_of_their_children_level_by_level():
    parents = {"a": "p", "b": "p", "p": "top", "q": "top"}
    zones = make(
        parents, a=(0, 0, 1, 1), b=(1, 0, 2, 1), p=(9, 9, 10, 10), q=(2, 0, 3, 1), top=(0, 0, 3.1, 1)
    )
    found = dict(zip(zones.ids, dissolve_parents(zones).geometries, strict=True))
    assert found["p"].equals(shapely.box(0, 0, 2, 1))
    assert found["top"].equals(shapely.box(0, 0, 3, 1))
    assert found["q"].equals(shapely.box(2, 0, 3, 1))
    assert dissolve_parents(zones).digest() != zones.digest()


def test_the_pipeline_file_says_whether_they_may(tmp_path):
    path = str(tmp_path / "zones.gpkg")
    boxes = [shapely.box(0, 0, 2, 1), shapely.box(1, 0, 3, 1)]
    gpd.GeoDataFrame({"code": ["a", "b"]}, geometry=boxes, crs=32633).to_file(path)
    zones = Zones(uri=path, id_column="code", version="1")
    with pytest.raises(ZonesError, match=r"zones.may_overlap: true when nobody"):
        read_pipeline_zones(zones)
    assert read_pipeline_zones(zones.model_copy(update={"may_overlap": True})).ids == ("a", "b")
