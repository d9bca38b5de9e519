"""The network that finds trees, a small detector without anchors. Raster Vision copies this file into the
bundle.

It looks for centres, after Zhou, Wang and Kraehenbuehl (2019), Objects as Points, arXiv:1904.07850: each cell
of 4 x 4 pixels gets a score, how likely a crown's centre lies in it, and a box. Crowns are round, so that is
enough. From outside it is one of torchvision's detectors: images to boxes, or images and boxes to losses.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image, generalized_box_iou_loss, nms

dependencies = ["torch", "torchvision"]

STRIDE = 4
"""Side of a cell in pixels. The sides of a chip must be multiples of four cells."""
TYPICAL = 40.0
"""A crown's usual width in pixels: what the network's 0 stands for."""
RARE = 4.0
"""What a score starts from before training, as a logit: few cells hold a centre."""
SPREAD = 0.15
"""How fast a centre's heat falls off in training, a standard deviation as a share of the crown's size."""
LOWEST = 0.05
"""Boxes with a smaller score are not given; Raster Vision's `score_thresh` then chooses among the rest."""
OVERLAP = 0.4
"""Of two boxes that overlap more (intersection over union) the better one stays."""


def tree_detector(width: int = 16) -> nn.Module:
    """The network for one class, label 1; `width` is the number of channels at half the resolution."""
    return TreeDetector(width)


class TreeDetector(nn.Module):
    """Chips (batch, 3, rows, columns) in 0 to 1 to boxes, labels and scores of each chip."""

    def __init__(self, width: int):
        super().__init__()
        self.stem = _block(3, width, stride=2)
        self.fine = nn.Sequential(_block(width, 2 * width, stride=2), _block(2 * width, 2 * width))
        self.middle = nn.Sequential(_block(2 * width, 3 * width, stride=2), _block(3 * width, 3 * width))
        self.coarse = nn.Sequential(_block(3 * width, 3 * width, stride=2), _block(3 * width, 3 * width))
        self.across = nn.ModuleList([nn.Conv2d(2 * width, 3 * width, 1), nn.Conv2d(3 * width, 3 * width, 1)])
        self.neck = _block(3 * width, 2 * width)
        self.score = nn.Conv2d(2 * width, 1, 1)
        self.shape = nn.Conv2d(2 * width, 4, 1)

    def forward(
        self, images: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> list[dict[str, Tensor]] | dict[str, Tensor]:
        """In training the losses. Otherwise for each image boxes (n, 4), which are west, north, east and
        south in pixels, labels (n,), all 1, and scores (n,) in 0 to 1, best first.
        """
        if self.training:
            images, boxes = augment(images, [target["boxes"] for target in targets or []])
            return detection_losses(*self.cells(images), boxes)
        return find_crowns(*self.cells(images), images)

    def cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, 1, rows / 4, columns / 4) and shapes (batch, 4, ...) of the cells."""
        fine = self.fine(self.stem(4 * images - 2))
        middle = self.middle(fine)
        deep = functional.interpolate(self.coarse(middle), scale_factor=2.0) + self.across[1](middle)
        features = self.neck(functional.interpolate(deep, scale_factor=2.0) + self.across[0](fine))
        return self.score(features) - RARE, self.shape(features)


def find_crowns(logits: Tensor, shapes: Tensor, images: Tensor) -> list[dict[str, Tensor]]:
    """Boxes, labels and scores of each image, from cells whose score is the highest around."""
    scores = torch.sigmoid(logits)
    peaks = scores * (functional.max_pool2d(scores, 3, stride=1, padding=1) == scores)
    boxes = cell_boxes(shapes)
    found = []
    for image in range(images.shape[0]):
        score = peaks[image].flatten()
        candidates = torch.nonzero(score > LOWEST).flatten()
        score, box = score[candidates], boxes[image].flatten(1).T[candidates]
        box = clip_boxes_to_image(box, images.shape[-2:])
        kept = nms(box, score, OVERLAP)
        found.append({"boxes": box[kept], "labels": torch.ones_like(kept), "scores": score[kept]})
    return found


def cell_boxes(shapes: Tensor) -> Tensor:
    """Boxes (batch, 4, rows, columns) of the cells: west, north, east and south in pixels.

    A shape is the centre's place in its cell and the logarithms of width and height.
    """
    rows, columns = shapes.shape[-2:]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    middle = STRIDE * (torch.stack([x, y]).to(shapes) + 0.5) + STRIDE * shapes[:, :2]
    half = TYPICAL / 2 * torch.exp(shapes[:, 2:].clamp(-3, 3))
    return torch.cat([middle - half, middle + half], dim=1)


def detection_losses(logits: Tensor, shapes: Tensor, boxes: list[Tensor]) -> dict[str, Tensor]:
    """Loss of the scores, whose target is the heat, and of the boxes near the centres.

    The scores' loss is the quality focal loss of Li et al. (2020), Generalized Focal Loss, arXiv:2006.04388.
    """
    heats = [centre_heat(box, logits.shape[-2:]) for box in boxes]
    heat = torch.stack([crowns.amax(dim=0) for crowns in heats])
    entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], heat, reduction="none")
    score_loss = ((heat - torch.sigmoid(logits[:, 0])) ** 2 * entropy).sum() / heat.sum().clamp(min=1)

    predicted, expected, weights = [], [], []
    for cells, crowns, targets in zip(cell_boxes(shapes), heats, boxes, strict=True):
        nearest, crown = crowns.max(dim=0)
        near = nearest > 0.2
        predicted.append(cells[:, near].T)
        expected.append(targets[crown[near]])
        weights.append(nearest[near])
    weight = torch.cat(weights)
    box_loss = weight * generalized_box_iou_loss(torch.cat(predicted), torch.cat(expected))
    return {"score_loss": 4 * score_loss, "box_loss": box_loss.sum() / weight.sum().clamp(min=1)}


def centre_heat(boxes: Tensor, shape: torch.Size) -> Tensor:
    """How near each cell is to each crown's centre, (crowns + 1, rows, columns): 1 in the centre's cell, then
    less and less, the sooner the smaller the crown. The last one is 0 everywhere.
    """
    rows, columns = (torch.arange(size, device=boxes.device) for size in shape)
    x, y = ((boxes[:, [i, i + 2]].mean(dim=1) / STRIDE).floor()[:, None, None] for i in (0, 1))
    width, height = ((boxes[:, i + 2] - boxes[:, i])[:, None, None] / STRIDE for i in (0, 1))
    across, down = (columns - x) / (SPREAD * width), (rows[:, None] - y) / (SPREAD * height)
    heat = torch.exp(-(across**2 + down**2).clamp(max=20) / 2)  # numbers near the smallest float are slow
    return torch.cat([heat, heat.new_zeros(1, *shape)])


def augment(images: Tensor, boxes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Square chips (batch, 3, side, side) mirrored and turned at random, brighter or darker."""
    side = images.shape[-1]
    turned, moved = [], []
    for image, box in zip(images, boxes, strict=True):
        for _ in range(2):
            if torch.rand(()) < 0.5:
                image = image.flip(2)
                box = torch.stack([side - box[:, 2], box[:, 1], side - box[:, 0], box[:, 3]], dim=1)
            if torch.rand(()) < 0.5:
                image, box = image.transpose(1, 2), box[:, [1, 0, 3, 2]]
        gain = torch.exp(0.15 * torch.randn(1, 1, 1) + 0.05 * torch.randn(3, 1, 1))
        turned.append(gain.to(image) * image)
        moved.append(box)
    return torch.stack(turned).contiguous(memory_format=torch.channels_last), moved  # twice as fast on a CPU


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
