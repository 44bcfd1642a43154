"""What annotation files say, in one form whatever the format; and the options of reading them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from egotools.config import check_positive, option

Format = Literal["table", "frames", "boris", "elan", "datavyu", "textgrid"]
Unit = Literal["seconds", "milliseconds", "frames"]


@dataclass(frozen=True)
class Event:
    """One annotation of a video.

    `video` is what the annotations call it: a name or a path of some machine. `start` and `end` are seconds of the
    video, or numbers of frames with `in_frames`; a moment has no end. Annotations of one `track` (a tier, a subject)
    are not expected to overlap. `length` is what the annotations say that the video lasts, seconds; `total` what all
    media of an observation last, if the times may count through them.
    """

    video: str
    start: float
    end: float | None
    labels: Mapping[str, str]
    where: str
    track: str = ""
    in_frames: bool = False
    length: float | None = None
    total: float | None = None


@dataclass
class Annotations:
    """The events of a file in its order, what was assumed, and by kind what cannot be used."""

    events: list[Event] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)

    def lose(self, kind: str, what: str) -> None:
        """Counts something that cannot be used."""
        self.lost.setdefault(kind, []).append(what)


@dataclass(frozen=True)
class Reading:
    """How annotation files are read, where they do not say it themselves."""

    format: Format | None = option(None, "Read FILE as this.  [default: by its content]")  # noqa: RUF009
    video: str | None = option(None, "The video that FILE is about, where it names none.  [default: FILE's name]")
    video_column: str | None = option(None, "Column of a table that names the video.")
    start_column: str | None = option(None, "Column of start times, or of the only time or frame of a row.")
    end_column: str | None = option(None, "Column of end times.")
    duration_column: str | None = option(None, "Column of durations, in place of end times.")
    label_column: tuple[str, ...] = option((), "Columns of labels, with commas; other columns are kept, too.")
    tier: tuple[str, ...] = option(
        (), "Tiers that make segments, with commas; the others describe them.  [default: all]"
    )
    unit: Unit | None = option(None, "Unit of plain numbers.  [default: by the column, else seconds]")  # noqa: RUF009
    fps: float | None = option(
        None, "Frames per second of frame numbers and time codes.  [default: the video's frames]"
    )

    def __post_init__(self) -> None:
        check_positive(self, "fps")
        for name in ("label_column", "tier"):
            object.__setattr__(self, name, tuple(each.strip() for each in getattr(self, name)))  # `--tier "a, b"`
        if self.end_column and self.duration_column:
            raise ValueError("--end-column and --duration-column exclude each other")
