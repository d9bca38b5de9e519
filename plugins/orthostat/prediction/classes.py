"""The classes of a model, and what class rasters hold where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orthostat.errors import ConfigurationError

if TYPE_CHECKING:
    from orthostat.pipelines.config import Publication

NODATA = 255


@dataclass(frozen=True)
class LabelClass:
    """A class of the model."""

    class_id: int
    name: str
    color: str
    """Six hexadecimal digits, RRGGBB."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self.color)
        return red, green, blue


def select_classes(rules: "Publication", classes: Sequence[LabelClass]) -> list[LabelClass]:
    """The published classes in the model's order. Raises ConfigurationError for one that it does not know."""
    if rules.classes is None:
        return list(classes)
    unknown = sorted(set(rules.classes) - {label.name for label in classes})
    if unknown:
        raise ConfigurationError(
            f"publication.classes names {unknown}, the model knows {[label.name for label in classes]}; "
            "correct the names in the pipeline file"
        )
    return [label for label in classes if label.name in rules.classes]
