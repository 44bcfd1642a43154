"""Sizes of pictures that are resized. Does not import torch."""


def even_side(side: int, other: int, to: int) -> int:
    """What a side becomes when the other one becomes `to`, in proportion: even, as FFmpeg's -2 has it.

    >>> even_side(454, 256, 128), even_side(426, 320, 160)  # halves are rounded up
    (228, 214)
    """
    return max(2, (side * to + other) // (2 * other) * 2)


def check_squares(size: int, min_size: int, max_size: int) -> None:
    """Refuses squares of `size` that do not fit into frames whose shorter side is `min_size` to `max_size`.

    Raises:
        ValueError: names the options.
    """
    if not size <= min_size:
        raise ValueError(f"--size {size} must be at most --min-size {min_size}: it is cut out of that")
    if not min_size <= max_size:
        raise ValueError(f"--min-size {min_size} must be at most --max-size {max_size}")
