"""What earlier predictions of a pipeline showed: the median of each class, as it grows."""

from bisect import insort

from orthostat.judgement.facts import densities, is_detector, shares
from orthostat.prediction.item import Prediction


class History:
    """Class shares of earlier predictions; of detectors, objects of each class per observed km2."""

    def __init__(self) -> None:
        self._values: dict[int, list[float]] = {}
        self._seen: dict[tuple[str, int], list[float]] = {}
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
        for number, band in enumerate(prediction.bands):
            self._see("mean", number, band.mean)
            self._see("deviation", number, band.deviation)
        self._see("score", 0, prediction.mean_score)

    def usual(self, name: str, number: int) -> float | None:
        """Median of a fact (`mean` and `deviation` of a band, `score`) over the predictions that have it."""
        values = self._seen.get((name, number))
        return None if not values else (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2

    def _see(self, name: str, number: int, value: float | None) -> None:
        if value is not None:
            insort(self._seen.setdefault((name, number), []), value)

    def median(self, class_id: int) -> float:
        """Median of a class over all predictions; one without the class counts as 0."""
        return (self._at(class_id, (self._size - 1) // 2) + self._at(class_id, self._size // 2)) / 2

    def _at(self, class_id: int, place: int) -> float:
        values = self._values.get(class_id, [])
        zeros = self._size - len(values)
        return values[place - zeros] if place >= zeros else 0.0
