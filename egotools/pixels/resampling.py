"""Boxes of many pictures resized at once, as matrix products: for a GPU, where each picture alone is too little work.

Axes: V boxes, H, W pixels of the pictures, S side of the results.
"""

import torch
from torch import Tensor


def resized_boxes(pictures: Tensor, boxes: Tensor, height: int, width: int, mirrored: Tensor, turned: Tensor) -> Tensor:
    """Boxes cut out, resized and mirrored; equal to Pillow's bilinear resizing within one gray level.

    Args:
        pictures: float32 [V, 3, H, W] on the device, numbers from 0 to 255; one a box.
        boxes: [V, 4] x, y, width, height in pixels, inside of the pictures.
        height: of the results.
        width: of the results.
        mirrored: bool [V], whether left and right are swapped.
        turned: bool [V], whether top and bottom are.

    Returns:
        float32 [V, 3, height, width], whole numbers.
    """
    boxes = boxes.double()
    across = weights(boxes[:, 0], boxes[:, 2], pictures.shape[3], width, mirrored)
    down = weights(boxes[:, 1], boxes[:, 3], pictures.shape[2], height, turned)
    lines = _bytes(pictures.flatten(1, 2) @ across.transpose(1, 2))  # Pillow, too, rounds between the two axes
    lines = lines.reshape(*pictures.shape[:3], width)
    return _bytes(down[:, None] @ lines)


def weights(first: Tensor, length: Tensor, pixels: int, size: int, is_flipped: Tensor) -> Tensor:
    """How much each pixel of a line adds to each of `size` pixels: float32 [V, size, pixels], sums of 1.

    Args:
        first: float64 [V], where the box begins.
        length: float64 [V], of the box.
        pixels: of the line.
        size: of the result.
        is_flipped: bool [V], whether the result runs backwards.
    """
    count = torch.arange(size, dtype=torch.float64, device=first.device)
    count = torch.where(is_flipped[:, None], size - 1 - count, count)
    scale = (length / size)[:, None]
    wide = scale.clamp(min=1.0)  # antialiasing: pixels that become smaller are averaged
    center = (count + 0.5) * scale  # in the box
    begin = (center - wide + 0.5).floor().clamp(min=0.0)
    end = torch.minimum((center + wide + 0.5).floor(), length[:, None])
    place = torch.arange(pixels, dtype=torch.float64, device=first.device) - first[:, None]
    place = place[:, None]
    tent = (1 - ((place - center[..., None] + 0.5) / wide[..., None]).abs()).clamp(min=0.0)
    tent *= (place >= begin[..., None]) & (place < end[..., None])
    return (tent / tent.sum(2, keepdim=True)).float()


def _bytes(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)
