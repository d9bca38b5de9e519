"""What earlier predictions of a pipeline showed: the median of each class, as it grows."""

from bisect import insort

from orthostat.judgement.facts import densities, is_detector, shares
from orthostat.prediction.item import Prediction


class History:
    """Class shares of earlier predictions; of detectors, objects of each class per observed km2."""

    def __init__(self) -> None:
        self._values: dict[int, list[float]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, prediction: Prediction) -> None:
        """Take one more prediction into account."""
        self._size += 1
        for class_id, value in (
            densities(prediction) if is_detector(prediction) else shares(prediction)
        ).items():
            insort(self._values.setdefault(class_id, []), value)

    def median(self, class_id: int) -> float:
        """Median of a class over all predictions; one without the class counts as 0."""
        return (self._at(class_id, (self._size - 1) // 2) + self._at(class_id, self._size // 2)) / 2

    def _at(self, class_id: int, place: int) -> float:
        values = self._values.get(class_id, [])
        zeros = self._size - len(values)
        return values[place - zeros] if place >= zeros else 0.0
