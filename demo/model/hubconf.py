"""The demo's network: a small U-Net over spectral indices. Raster Vision copies this file into the bundle.

Four small polygons teach no network what a whole landscape looks like. What generalises is built in: it sees
brightness, hue and texture instead of raw values, and trains with noise on them, which pushes the borders
between classes into the middle of the gaps between the polygons.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

dependencies = ["torch"]

_DARKEST = 1.45
"""Standard deviations below the mean at which a band counts as black."""
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
        self.fine = _convolutions(6, width)
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
        """Noise that is shared by patches of pixels, as fields differ from fields more than within."""
        shape = features.shape
        patches = torch.randn(*shape[:2], shape[2] // 8 + 1, shape[3] // 8 + 1)
        patches = functional.interpolate(patches, scale_factor=8, mode="nearest")[..., : shape[2], : shape[3]]
        return features + self.noise * patches.to(features)


def spectral_indices(x: Tensor) -> Tensor:
    """Six indices per pixel: log brightness, three shares of the bands, and texture of fine and coarse scale."""
    valid = (x > 0).any(dim=1, keepdim=True).to(x.dtype)
    bands = (6 * x - 3 + _DARKEST).clamp(min=0.05)
    total = bands.sum(dim=1, keepdim=True)
    brightness = torch.log(total)
    textures = [_texture(brightness, valid, size) for size in (3, 7)]
    return torch.cat([brightness, 4 * (bands / total - 1 / 3), *textures], dim=1) * valid


def _texture(brightness: Tensor, valid: Tensor, size: int) -> Tensor:
    """Log standard deviation of the brightness around a pixel, of the pixels that hold data."""
    window = {"kernel_size": size, "stride": 1, "padding": size // 2}
    share = functional.avg_pool2d(valid, **window).clamp(min=1e-3)
    mean = functional.avg_pool2d(brightness * valid, **window) / share
    square = functional.avg_pool2d(brightness**2 * valid, **window) / share
    return 0.25 * torch.log((square - mean**2).clamp(min=0) + 1e-3) + 1


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
