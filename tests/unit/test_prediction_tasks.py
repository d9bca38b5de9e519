"""Cells, boxes, scores and polygons: local files whose contents can be told by hand."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import unpack_bundle
from orthostat.prediction.engines.choice import open_engine
from orthostat.prediction.facts import Facts
from orthostat.prediction.local import predict_local
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import write_image


def predict(tmp_path: Path, values, task="semantic_segmentation", profile=None, own=None, **wanted) -> Facts:
    path = write_onnx_bundle(tmp_path / "bundle.zip", task, **(own or {}))
    options = PredictOptions(**wanted)
    engine = open_engine("onnx", unpack_bundle(path, "m.zip", "ab", tmp_path), options, 1)
    image = write_image(tmp_path / "image.tif", values, nodata=0, **(profile or {}))
    folder = tmp_path / "files"
    folder.mkdir()
    return predict_local(engine, image, "image.tif", None, folder, options)


def test_cells_are_clipped_to_the_image_and_those_without_data_left_out(tmp_path):
    values = np.full((1, 20, 40), 50, np.uint16)
    values[:, :16, 16:32] = 0  # one cell without data
    values[:, 16:, :] = 200
    values[:, 17, 2] = 0  # a pixel without data in a cell with data
    facts = predict(tmp_path, values, "chip_classification")
    assert facts.files == ("cells.parquet", "labels.tif", "preview.png")
    cells = gpd.read_parquet(tmp_path / "files/cells.parquet")
    assert list(cells.columns) == ["class_id", "class_name", "score", "geometry"]
    assert cells["class_name"].tolist() == ["low", "low", "low", "low", "low"]  # zeros beyond the edge count
    assert cells.crs.to_epsg() == 32633
    assert cells.geometry[0].bounds == (500000, 4983240, 500160, 4983400)
    assert cells.geometry[4].bounds == (500320, 4983200, 500400, 4983240)
    with rasterio.open(tmp_path / "files/labels.tif") as labels:
        read = labels.read(1)
    assert (read[:16, 16:32] == 255).all()
    assert read[17, 2] == 255
    assert facts.counts == {0: 5}
    assert facts.histogram == {0: 20 * 40 - 256 - 1}


def test_an_object_on_the_edge_of_two_chips_counts_once(tmp_path):
    values = np.ones((1, 32, 40), np.uint16)
    for row, column, value in ((8, 15, 60000), (20, 20, 50000), (30, 5, 40000)):
        values[0, row, column] = value
    facts = predict(tmp_path, values, "object_detection", score_threshold=0.5)
    found = gpd.read_parquet(tmp_path / "files/detections.parquet")
    assert facts.files == ("detections.parquet", "observed.tif", "preview.png")
    assert found["score"].round(3).tolist() == [0.916, 0.763, 0.61]
    assert found["class_name"].tolist() == ["low", "low", "low"]
    assert found.geometry[0].bounds == (500130, 4983290, 500180, 4983340)
    assert facts.counts == {0: 3}
    assert facts.histogram == {0: 32 * 40}


def test_an_object_where_there_is_no_data_is_none(tmp_path):
    values = np.full((1, 32, 32), 7, np.uint16)
    values[0, :, 16:] = 0
    values[0, 4, 4] = 60000
    predict(tmp_path, values, "object_detection", stride=16, score_threshold=0.00001)
    found = gpd.read_parquet(tmp_path / "files/detections.parquet")
    assert len(found)
    assert (found.bounds["minx"] < 500160).all()


def test_no_object_is_an_empty_table(tmp_path):
    facts = predict(tmp_path, np.ones((1, 16, 16), np.uint16), "object_detection")
    found = gpd.read_parquet(tmp_path / "files/detections.parquet")
    assert len(found) == 0
    assert list(found.columns) == ["class_id", "class_name", "score", "geometry"]
    assert facts.counts == {}


def test_scores_and_polygons_are_written_when_asked(tmp_path):
    values = np.full((1, 20, 20), 50, np.uint16)
    values[:, :, 10:] = 200
    values[:, 0, 0] = 0
    facts = predict(tmp_path, values, smooth=True, scores=True, polygons=True)
    assert facts.files == ("labels.tif", "polygons.parquet", "preview.png", "scores.tif")
    with rasterio.open(tmp_path / "files/scores.tif") as scores:
        assert scores.descriptions == ("low", "high", "null")
        assert scores.scales[0] == pytest.approx(1 / 254)
        steps = scores.read()
    assert steps[:, 0, 0].tolist() == [255, 255, 255]
    share = 1 / (1 + np.exp(-1000 * (200 - 100) / 65535))
    assert steps[1, 5, 15] == round(254 * share)
    polygons = gpd.read_parquet(tmp_path / "files/polygons.parquet")
    areas = dict(zip(polygons["class_name"], polygons.area, strict=True))
    assert areas == {"low": (20 * 10 - 1) * 100.0, "high": 20 * 10 * 100.0}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_image_without_a_place_gives_boxes_in_pixels(tmp_path):
    values = np.ones((1, 16, 16), np.uint16)
    values[0, 8, 5] = 60000
    place = {"crs": None, "transform": rasterio.Affine.identity()}
    facts = predict(tmp_path, values, "object_detection", place)
    assert (facts.crs, facts.source_crs) == (None, None)
    found = gpd.read_parquet(tmp_path / "files/detections.parquet")
    assert found.crs is None
    assert found.geometry[0].bounds == (3, 6, 8, 11)


@pytest.mark.parametrize("own", [{}, {"stride": 8}, {"stride": 8, "crop_sz": 4}])
def test_chips_without_data_cost_the_model_nothing(tmp_path, monkeypatch, own):
    from orthostat.prediction.engines.onnx import OnnxEngine

    segment, chips_seen = OnnxEngine.segment, []

    def count(self, chips, *, scores):
        chips_seen.append(len(chips))
        return segment(self, chips, scores=scores)

    monkeypatch.setattr(OnnxEngine, "segment", count)
    values = np.full((1, 64, 64), 200, np.uint16)
    values[:, :, 16:] = 0
    facts = predict(tmp_path, values, own=own)
    assert facts.histogram == {1: 64 * 16}
    assert sum(chips_seen) <= {0: 4, 8: 8 * 3}[own.get("stride", 0)] + (9 * 2 if "crop_sz" in own else 0)
