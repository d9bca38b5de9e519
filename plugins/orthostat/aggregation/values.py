"""What a composite is made of, and what its pixels say."""

from orthostat.prediction.classes import LabelClass
from orthostat.prediction.description import Task

Tile = tuple[int, int]
"""Column and row of a tile."""
UNOBSERVED = 254
"""A composite's pixel that no scene covers; 255 (classes.NODATA) is covered, but never with valid data."""
OBJECTS: Task = "object_detection"
OBSERVED = LabelClass(0, "observed", "E0E0E0")
"""The one class of a composite of which objects are counted."""
DETECTIONS = "detections.parquet"
"""The file of a prediction that holds its objects."""
