"""Memento10k: `memento_{train,val,test}_data.json` with scores, videos in `videos/` or as stacks in `videos_npy/`.

Source:
    Newman et al., "Multimodal Memorability", arXiv 2009.02568; the layout is that of modular-memorability.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips, check_differ, checked_score, files_of_splits, present, read_json
from egotools.errors import ManifestError
from egotools.types import Clip

SEPARATOR = ";"  # between the action labels of a clip


@dataclass(frozen=True)
class Memento10k:
    """Memento10k: memento_{train,val,test}_data.json and its videos; scores become the label memorability.

    \b
    egotools manifest memento10k ROOT --out m.csv
    egotools manifest memento10k ROOT --videos npy --score-at 100 --out m.csv
    """

    videos: Literal["auto", "mp4", "npy"] = option(
        "auto", "videos/*.mp4, videos_npy/*.npy, or for each clip the first of these that exists."
    )
    fps: float = option(15.0, "Frame rate of .npy files.")  # 45 frames of about 3 seconds
    score_at: float | None = option(None, "Move scores to this lag, by each video's alpha; by default as they are.")
    lag: float = option(80.0, "Lag that the scores of the files are at.")

    def __post_init__(self) -> None:
        check_positive(self, "fps")

    def clips(self, root: Path) -> DatasetClips:
        """The clips with the labels `memorability` (none in test), `alpha` and `action_labels`.

        Raises:
            ManifestError: no annotations, unusable ones, or not a single video.
        """
        paths, remarks = files_of_splits(root, "memento_{}_data.json")
        clips, beyond = [], 0
        for split, path in paths.items():
            for entry, where in _entries(path):
                score, adjusted = _score(entry, split, where, self.score_at, self.lag)
                beyond += score != adjusted
                labels = {"memorability": "" if adjusted is None else repr(adjusted), **_labels(entry, where)}
                file = _file(root, Path(entry["filename"]), self.videos)
                fps = self.fps if file.suffix == ".npy" else None
                clips.append(Clip(file.stem, file, split=split, labels=labels, fps=fps))
        check_differ(clips, root)
        if beyond:
            remarks.append(f"{beyond} scores would lie outside 0 to 1 at a lag of {self.score_at:g}; they are 0 or 1")
        return present(clips, root, remarks)


def score_at_lag(score: float, alpha: float, *, lag: float, of: float) -> float:
    """A score at another lag, on the line that a video's hit rate follows: `score` is at the lag `of`."""
    return score + alpha * (lag - of)


def _entries(path: Path) -> list[tuple[Mapping[str, Any], str]]:
    """The objects of an annotation file, each with words for where it is."""
    found = read_json(path)
    if not isinstance(found, list):
        raise ManifestError(f"{path}: holds no list")
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or not entry["filename"]:
            raise ManifestError(f"{path}: entry {number} has no 'filename'")
    return [(entry, f"{path}: {entry['filename']}") for entry in found]


def _score(
    entry: Mapping[str, Any], split: str, where: str, score_at: float | None, lag: float
) -> tuple[float | None, float | None]:
    """The score as the line has it, and kept within 0 to 1; none in test, where it is not to be read."""
    if split == "test":
        return None, None
    if "mem_score" not in entry:
        raise ManifestError(f"{where}: no 'mem_score'")
    score = checked_score(entry["mem_score"], where)
    if score_at is not None:
        score = score_at_lag(score, float(_number(entry, where)), lag=score_at, of=lag)
    return score, min(max(score, 0.0), 1.0)


def _number(entry: Mapping[str, Any], where: str) -> float:
    alpha = entry.get("alpha")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or alpha != alpha:
        raise ManifestError(f"{where}: no 'alpha', without which the score at another lag is unknown")
    return alpha


def _labels(entry: Mapping[str, Any], where: str) -> dict[str, str]:
    actions = entry.get("action_labels") or []
    if not isinstance(actions, list) or not all(isinstance(each, str) and SEPARATOR not in each for each in actions):
        raise ManifestError(f"{where}: 'action_labels' is no list of texts without {SEPARATOR!r}")
    alpha = entry.get("alpha")
    return {"alpha": "" if alpha is None else repr(alpha), "action_labels": SEPARATOR.join(actions)}


def _file(root: Path, name: Path, videos: str) -> Path:
    video, stack = root / "videos" / name.name, root / "videos_npy" / f"{name.stem}.npy"
    if videos == "auto":
        return stack if stack.is_file() and not video.is_file() else video
    return video if videos == "mp4" else stack
