"""The demo's network: a small U-Net over spectral indices. Raster Vision copies this file into the bundle.

Four small polygons teach no network what a whole landscape looks like. What generalises is built in: it sees
brightness, hue and texture instead of raw values, and trains with noise on them, which pushes the borders
between classes into the middle of the gaps between the polygons.
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
_PATCH = 32
"""Side of a patch of equal noise, in pixels."""
_NULL_LOGIT = -30.0


def unet(classes: int, noise: float, width: int = 12) -> nn.Module:
    """The network for `classes` classes and, after them, the null class, which it never predicts."""
    return SpectralUNet(classes, noise, width)


class SpectralUNet(nn.Module):
    """Chips (batch, 3, rows, columns) in 0 to 1, mean 0.5 as Raster Vision's StatsTransformer makes them,
    to logits (batch, classes + 1, rows, columns).
    """

    def __init__(self, classes: int, noise: float, width: int):
        super().__init__()
        self.noise = noise
        self.fine = _convolutions(3, width)
        self.middle = _convolutions(width, 2 * width)
        self.coarse = _convolutions(2 * width, 4 * width)
        self.middle_up = _convolutions(6 * width, 2 * width)
        self.fine_up = _convolutions(3 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every pixel."""
        features = spectral_indices(x)
        if self.training:
            features = self._disturb(features)
        fine = self.fine(features)
        middle = self.middle(functional.avg_pool2d(fine, 2, ceil_mode=True))
        coarse = self.coarse(functional.avg_pool2d(middle, 2, ceil_mode=True))
        middle = self.middle_up(_join(middle, coarse))
        logits = self.head(self.fine_up(_join(fine, middle)))
        return torch.cat([logits, torch.full_like(logits[:, :1], _NULL_LOGIT)], dim=1)

    def _disturb(self, features: Tensor) -> Tensor:
        """Add noise that is the same within a patch: fields differ from fields more than pixels within one."""
        batch, channels, rows, columns = features.shape
        patches = torch.randn(batch, channels, rows // _PATCH + 1, columns // _PATCH + 1)
        patches = functional.interpolate(patches, scale_factor=_PATCH, mode="nearest")
        return features + self.noise * patches[..., :rows, :columns].to(features)


def spectral_indices(x: Tensor) -> Tensor:
    """Three indices of every pixel, each of about the same weight: water, brightness and texture."""
    valid = (x > 0).any(dim=1, keepdim=True).to(x.dtype)
    bands = 6 * x - 3  # standard deviations from the mean
    blue, red = (bands[:, [0, 2]] - _BLACK_HUE).clamp(min=0.05).split(1, dim=1)
    water = torch.sigmoid(12 * (_smooth((blue - red) / (blue + red), 3) - _WATER_HUE))
    brightness = torch.log((bands - _BLACK).clamp(min=0.05).sum(dim=1, keepdim=True))
    indices = torch.cat([3 * water, _smooth(brightness, 3), 0.5 * _texture(brightness, valid)], dim=1)
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


def _join(fine: Tensor, coarse: Tensor) -> Tensor:
    enlarged = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([fine, enlarged], dim=1)


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate", bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="replicate", bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
