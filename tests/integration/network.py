"""The networks of the tests' bundles: Raster Vision's command runs this file as a `hubconf.py`."""

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import nms


def segmenter(channels, classes):
    return Segmenter(channels, classes)


def classifier(channels, classes):
    return Classifier(channels, classes)


def detector(channels, classes):
    return Detector(channels, classes)


class Segmenter(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        print("a bundle may print")
        self.fine = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.coarse = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        fine = torch.relu(self.norm(self.fine(x)))
        coarse = torch.relu(self.coarse(functional.avg_pool2d(fine, 2)))
        coarse = functional.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sin(4 * self.head(torch.cat([fine, coarse], dim=1)))


class Classifier(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.layer = nn.Conv2d(channels, 8, 5, stride=3)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        features = torch.relu(self.layer(x)).mean(dim=(2, 3))
        return torch.sin(20 * self.head(features))


class Detector(nn.Module):
    """Boxes where one of a few random filters answers most, sized by others; outputs as torchvision's."""

    def __init__(self, channels, classes):
        super().__init__()
        self.classes = classes
        self.layer = nn.Conv2d(channels, 8, 5, stride=4, padding=2)
        self.head = nn.Conv2d(8, classes + 2, 1)

    def forward(self, x, targets=None):
        maps = torch.sin(3 * self.head(torch.relu(self.layer(x))))
        return [self.find(one) for one in maps]

    def find(self, maps):
        scores, labels = torch.sigmoid(3 * maps[: self.classes]).flatten(1).max(dim=0)
        scores, places = scores.topk(40)
        rows = torch.div(places, maps.shape[2], rounding_mode="floor")
        centres = 4.0 * torch.stack([places - rows * maps.shape[2], rows], dim=1) + 2
        sizes = 8 + 5 * maps[self.classes :].flatten(1).t()[places]
        boxes = torch.cat([centres - sizes, centres + sizes], dim=1)
        kept = nms(boxes, scores, 0.4)
        return {"boxes": boxes[kept], "labels": labels[places][kept] + 1, "scores": scores[kept]}
