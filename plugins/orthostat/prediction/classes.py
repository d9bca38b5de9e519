"""The classes of a model, and what class rasters hold where there is none."""

from dataclasses import dataclass

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
