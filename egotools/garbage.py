"""Python's garbage collector, paused where very many objects are made that all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the search for reference cycles, of the whole process; also a decorator.

    Otherwise it looks at all objects again each time that their number has grown by a quarter: with torch loaded, this
    is half of the time that a manifest of 200,000 clips takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
