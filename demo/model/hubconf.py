"""The demo's network, a small one over spectral indices. Raster Vision copies this file into the bundle.

Four small polygons teach no deep network what a landscape looks like: a U-Net learns their surroundings by
heart. What generalises is built in: the network sees a water index, brightness and texture instead of raw
values, and trains with noise on them, which moves the borders between classes into the middle of the gaps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

dependencies = ["torch"]

_BLACK = -1.25
"""Where brightness starts to count, in standard deviations from a band's mean."""
_BLACK_HUE = -1.7
"""The same for hue, which has to hold in deep water."""
_WATER_HUE = 0.22
"""Normalised difference of blue and red at the border of water."""
_NULL_LOGIT = -30.0


def spectral_network(classes: int, noise: float, width: int = 32) -> nn.Module:
    """The network for `classes` classes and, after them, the null class, which it never predicts."""
    return SpectralNetwork(classes, noise, width)


class SpectralNetwork(nn.Module):
    """Chips (batch, 3, rows, columns) in 0 to 1, mean 0.5 as Raster Vision's StatsTransformer makes them,
    to logits (batch, classes + 1, rows, columns). Bands are blue, green, red.
    """

    def __init__(self, classes: int, noise: float, width: int):
        super().__init__()
        self.noise = noise
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every pixel."""
        indices = spectral_indices(x)
        if self.training:
            indices = indices + self.noise * torch.randn_like(indices)
        logits = self.layers(indices)
        return torch.cat([logits, torch.full_like(logits[:, :1], _NULL_LOGIT)], dim=1)


def spectral_indices(x: Tensor) -> Tensor:
    """Three indices of every pixel, each of about the same weight: water, brightness and texture."""
    valid = (x > 0).any(dim=1, keepdim=True).to(x.dtype)
    bands = 6 * x - 3  # standard deviations from the mean
    blue, red = ((bands[:, i : i + 1] - _BLACK_HUE).clamp(min=0.05) for i in (0, 2))
    water = torch.sigmoid(12 * (_smooth((blue - red) / (blue + red), 3) - _WATER_HUE))
    brightness = torch.log((bands - _BLACK).clamp(min=0.05).sum(dim=1, keepdim=True))
    indices = torch.cat([3 * water, 1.3 * _smooth(brightness, 3), 0.5 * _texture(brightness, valid)], dim=1)
    return indices * valid


def _texture(brightness: Tensor, valid: Tensor) -> Tensor:
    """Log of how much pixels differ from both neighbours, in the direction in which they differ least.

    Along a straight border that is next to nothing, so that the rim of a field is no town. An opening then
    removes what is thin.
    """
    rows, columns = brightness.shape[-2:]
    framed = functional.pad(brightness, (1, 1, 1, 1), mode="replicate")

    def shifted(down: int, right: int) -> Tensor:
        return framed[..., 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]

    directions = [
        (2 * brightness - shifted(-down, -right) - shifted(down, right)).abs()
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    ]
    inside = -functional.max_pool2d(-functional.pad(valid, (1, 1, 1, 1), value=1.0), 3, stride=1)
    contrast = torch.log(_smooth(torch.stack(directions).amin(dim=0) * inside, 5) + 0.01)
    eroded = -functional.max_pool2d(-contrast, 5, stride=1, padding=2)
    return functional.max_pool2d(eroded, 5, stride=1, padding=2)


def _smooth(x: Tensor, size: int) -> Tensor:
    return functional.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False)
