"""How long the stages of a training's steps take."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class Stages:
    """Seconds per step of each stage since they were last asked for.

    Args:
        spent: seconds of each stage by name since it was last asked, and forgets them.
        here: those of these stages that this process spends; what is left of its time is the stage `step`.
    """

    def __init__(self, spent: Callable[[], dict[str, float]], here: Collection[str]) -> None:
        self._spent, self._here = spent, here
        self._steps, self._began = 0, time.perf_counter()

    def count(self) -> None:
        """One more step is done."""
        self._steps += 1

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done here belongs to no step."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def figures(self) -> dict[str, float]:
        """`seconds_<stage>`, for the metrics."""
        now, spent = time.perf_counter(), self._spent()
        spent["step"] = max(now - self._began - sum(spent.get(name, 0.0) for name in self._here), 0.0)
        steps, self._steps, self._began = max(self._steps, 1), 0, now
        return {f"seconds_{name}": value / steps for name, value in spent.items()}
