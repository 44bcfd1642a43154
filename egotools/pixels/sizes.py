"""Sizes of pictures that are resized. Does not import torch."""


def even_side(side: int, other: int, to: int) -> int:
    """What a side becomes when the other one becomes `to`, in proportion: even, as FFmpeg's -2 has it.

    >>> even_side(454, 256, 128), even_side(426, 320, 160)  # halves are rounded up
    (228, 214)
    """
    return max(2, (side * to + other) // (2 * other) * 2)
