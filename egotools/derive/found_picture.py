"""What was found, as a picture: a frame of each moment, the best first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from egotools.errors import ClipError
from egotools.evaluate.find import Found, Moment, Videos
from egotools.evaluate.queries import Query
from egotools.media.shown_frames import shown_at
from egotools.plots import Shot, Strip, strips_picture
from egotools.progress import Progress, no_progress
from egotools.stores.store import Store
from egotools.texts import counted, named
from egotools.types import Clip, Frame

MOST = 48  # moments shown of a query
NAMED = 3  # clips named in a remark
UNKNOWN = np.full((135, 240, 3), 225, np.uint8)  # in place of a frame that cannot be read


def draw_found(
    found: Found, store: Store, image: Clip | None = None, *, progress: Progress = no_progress
) -> tuple[bytes, list[str]]:
    """A PNG, and remarks: which frames it lacks and why.

    Args:
        found: moments of one or several queries.
        store: the cache that they were found in.
        image: the image of the query, if it was one.
        progress: reports files.
    """
    videos, wanted = Videos(store), _Frames(store)
    strips, remarks = [], []
    for query, moments in zip(found.queries, found.moments, strict=True):
        if len(moments) > MOST:
            remarks.append(f"the picture shows the first {MOST} of {len(moments)} moments of {query.name!r}")
        own = [] if (asked := _asked(query, videos, image)) is None else [(wanted.add(*asked), "the query")]
        shots = [
            (wanted.add(each.video, each.middle, each.id), _caption(rank, each))
            for rank, each in enumerate(moments[:MOST], 1)
        ]
        strips.append((query, own + shots))
    frames = wanted.read(progress)
    drawn = [
        Strip(f"{query.kind}: {query.name}", [Shot(frames.get(at, UNKNOWN), caption) for at, caption in shots])
        for query, shots in strips
    ]
    title = f"{store.path.name}: nearest of {counted(found.rows, 'row')} of {counted(found.clips, 'clip')}, with cosine"
    return strips_picture(drawn, title=title), [*remarks, *wanted.remarks()]


def _asked(query: Query, videos: Videos, image: Clip | None) -> tuple[Clip | None, float, str] | None:
    """Where the query itself can be seen; None: it is a text."""
    if query.shows is not None:
        return videos.of(query.shows.id), (query.shows.start + query.shows.end) / 2, query.shows.id
    return None if image is None else (image, 0.0, "")


def _caption(rank: int, moment: Moment) -> str:
    labels = (
        [] if moment.video is None else [text for text in moment.video.labels.values() if text not in ("", moment.id)]
    )
    lines = [f"{rank}: {moment.similarity:.3f} at {moment.middle:.1f} s", moment.id, ", ".join(labels)]
    return "\n".join(" ".join(line.split()) for line in lines if line)


@dataclass
class _Frames:
    """Frames that a picture needs, read file by file; and what is said about those that it lacks."""

    store: Store
    places: list[tuple[Clip | None, float]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # why -> ids
    ids: list[str] = field(default_factory=list)

    def add(self, video: Clip | None, seconds: float, id: str) -> int:
        """The number of a frame of a clip; an empty id: it is not of the cache."""
        self.places.append((video, seconds))
        self.ids.append(id)
        return len(self.places) - 1

    def read(self, progress: Progress) -> dict[int, Frame]:
        """The frames that can be read, by their numbers."""
        of_file: dict[tuple[object, object], list[int]] = defaultdict(list)
        for number, (video, _) in enumerate(self.places):
            if video is None:
                self.missing[f"neither a manifest nor {self.store.path} says which file it comes from"].append(
                    self.ids[number]
                )
            else:
                of_file[video.path, video.fps].append(number)
        frames: dict[int, Frame] = {}
        for done, numbers in enumerate(of_file.values(), 1):
            video = self.places[numbers[0]][0]
            assert video is not None, "those are not among the files"
            try:
                shown = shown_at(video.path, video.fps, [self.places[number][1] for number in numbers])
            except ClipError as error:
                self.missing[str(error)] += [self.ids[number] for number in numbers]
            else:
                frames.update(zip(numbers, shown, strict=True))
            progress("reading frames", done, len(of_file))
        return frames

    def remarks(self) -> list[str]:
        """A line for each reason."""
        return [
            f"no frame of {named(list(dict.fromkeys(ids)), NAMED)}: {reason}" for reason, ids in self.missing.items()
        ]
