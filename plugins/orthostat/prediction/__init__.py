"""Prediction: a Raster Vision model over whole scenes. The only place that imports torch and rastervision."""
