"""A U-Net of three levels; Raster Vision copies this file into the bundle."""

import torch
from torch import Tensor, nn

dependencies = ["torch"]


def unet(classes: int, width: int = 16) -> nn.Module:
    """Chips (batch, 3, rows, columns), sides in multiples of 4, to logits (batch, classes, rows, columns)."""
    return UNet(classes, width)


def _block(taken: int, given: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(given, given, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Weights as torch draws them, the last layer enlarged: the labels vary with the image."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.down = nn.ModuleList([_block(3, width), _block(width, 2 * width), _block(2 * width, 4 * width)])
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.norm = nn.InstanceNorm2d(width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every pixel."""
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        third = self.down[2](self.pool(second))
        second = self.up[0](torch.cat([self.grow(third), second], dim=1))
        first = self.up[1](torch.cat([self.grow(second), first], dim=1))
        logits: Tensor = self.head(self.norm(first))
        return logits
