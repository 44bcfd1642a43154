"""The annotation files of Ego-Exo4D, read and checked: takes, keysteps, descriptions at times."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from egotools.datasets.ego4d_files import read_file


class _Stream(TypedDict, total=False):
    cam_id: str | None
    relative_path: str | None


class _Device(TypedDict, total=False):
    cam_id: str | None
    is_ego: bool | None


class _Capture(TypedDict, total=False):
    cameras: list[_Device] | None


class _Named(TypedDict):
    take_uid: str
    take_name: str
    root_dir: str
    frame_aligned_videos: dict[str, dict[str, _Stream]]


class Take(_Named, total=False):
    """An entry of `takes.json`; its videos by camera and stream."""

    capture: _Capture | None
    participant_uid: int | str | None
    parent_task_name: str | None


class _Told(TypedDict, total=False):
    step_description: str | None
    is_essential: bool | None


class _Step(_Told):
    start_time: float
    end_time: float
    step_name: str
    step_unique_id: int


class _Stepped(TypedDict):
    scenario: str
    segments: list[_Step]


class _Steps(TypedDict):
    annotations: dict[str, _Stepped]


class _Optional(TypedDict, total=False):
    subject: str | None
    narration_subject: str | None
    ego_visible: bool | str | int | None
    unsure: bool | str | int | None
    best_exo: dict[str, Any] | None


class _Description(_Optional):
    text: str
    timestamp: float


class _Pass(TypedDict):
    rejected: bool
    descriptions: list[_Description]


class _Descriptions(TypedDict):
    annotations: dict[str, list[_Pass]]


@dataclass(frozen=True)
class Keysteps:
    """The keysteps of a take, as annotated: start, end (seconds of the take), and labels."""

    scenario: str
    segments: list[tuple[float, float, dict[str, str]]]


def read_takes(path: Path) -> dict[str, Take]:
    """The takes by their uid.

    Raises:
        ManifestError: it cannot be read, or an entry is missing or of another type; it is named.
    """
    takes: list[Take] = _read(path, list[Take])
    return {take["take_uid"]: take for take in takes}


def read_keysteps(path: Path) -> dict[str, Keysteps]:
    """The keysteps of each take, by its uid.

    Raises:
        ManifestError: as `read_takes`.
    """
    content: _Steps = _read(path, _Steps)
    return {
        uid: Keysteps(
            take["scenario"],
            [
                (step["start_time"], step["end_time"], {**_step_labels(step), "scenario": take["scenario"]})
                for step in take["segments"]
            ],
        )
        for uid, take in content["annotations"].items()
    }


def _step_labels(step: _Step) -> dict[str, str]:
    return {
        "step": step["step_name"],
        "step_id": str(step["step_unique_id"]),
        "step_description": step.get("step_description") or "",
        "is_essential": _flag(step.get("is_essential")),
    }


def read_descriptions(path: Path) -> tuple[int, dict[str, list[tuple[str, float, dict[str, str]]]]]:
    """How many annotations were rejected, and the descriptions of each take: number, seconds of the take, and labels.

    The number is `<annotation>_<description>`, both counted from 0 in the file.

    Raises:
        ManifestError: as `read_takes`.
    """
    content: _Descriptions = _read(path, _Descriptions)
    rejected, found = 0, {}
    for uid, passes in content["annotations"].items():
        rejected += sum(each["rejected"] for each in passes)
        found[uid] = [
            (f"{one}_{number}", description["timestamp"], _description_labels(description))
            for one, each in enumerate(passes)
            if not each["rejected"]
            for number, description in enumerate(each["descriptions"])
        ]
    return rejected, found


def _description_labels(description: _Description) -> dict[str, str]:
    best = (description.get("best_exo") or {}).get("cam_id")
    return {
        "text": description["text"],
        "subject": description.get("subject") or description.get("narration_subject") or "",
        "ego_visible": _flag(description.get("ego_visible")),
        "best_exo": best if isinstance(best, str) else "",
        "unsure": _flag(description.get("unsure")),
    }


def _flag(value: bool | str | int | None) -> str:
    """1 or 0, which the files write in several ways; empty if they do not say."""
    return "" if value is None or value == "" else str(int(value in (True, "1", "true", "True")))


def _read(path: Path, shape: Any) -> Any:  # Any: JSON values, and a type as a value
    return read_file(path, shape, hint="; is it Ego-Exo4D's?")
