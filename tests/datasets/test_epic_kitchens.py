"""The official CSVs of EPIC-KITCHENS-100, in the layouts that people have."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_commands import manifest_command

from egotools.datasets.epic_kitchens import EpicKitchens
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest

HEAD = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame"
    ",narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
ROW = (
    '{id},{person},{video},00:00:00.560,{start},{stop},1,113,"take plate, quickly",take,{verb},plate,{noun}'
    ",['plate'],[2]\n"
)


def row(id: str, video: str = "P01_11", **more: object) -> str:
    cells = {"person": video[:3], "start": "00:00:01.56", "stop": "01:02:03.50", "verb": 0, "noun": 2, **more}
    return ROW.format(id=id, video=video, **cells)


def annotated(folder: Path, *rows: str, split: str = "validation", tail: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"EPIC_100_{split}.csv").write_text(HEAD + "".join(rows))
    if tail:
        (folder / "EPIC_100_tail_verbs.csv").write_text("verb\n10\n")
        (folder / "EPIC_100_tail_nouns.csv").write_text("noun\n56\n")
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP18\n")
    return folder


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_actions_are_stretches_of_videos_or_files_of_their_own(tmp_path: Path) -> None:
    root = annotated(tmp_path / "a", row("P01_11_0"), row("P18_01_7", "P18_01", verb=10))
    annotated(root, row("P02_01_0", "P02_01", noun="056", stop="00:00:02.00"), split="train")
    test = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp\nP03_01_4,P03,P03_01,0:0:1,0:0:2\n"
    (root / "EPIC_100_test_timestamps.csv").write_text(test)
    names = ("P01/videos/P01_11.MP4", "P18_01.mp4", "P02_01.mp4", "action_segments/P02_01_00000156_00000200.MP4")
    videos = touched(tmp_path / "v", *names, "P03_01.MP4")
    done = manifest_command("epic-kitchens", root, "--videos", videos, "--out", tmp_path / "e.csv")
    found = {clip.id: clip for clip in read_manifest(tmp_path / "e.csv")}
    first = found["P01_11_0"]
    assert (first.path, first.start, first.end, first.split) == (videos / names[0], 1.56, 3723.5, "val")
    assert first.labels == {
        "participant": "P01", "video": "P01_11", "verb": "take", "verb_class": "0", "noun": "plate", "noun_class": "2",
        "narration": "take plate, quickly", "subset_head": "1", "subset_tail": "0", "subset_unseen": "0",
    }  # fmt: skip
    cut = found["P02_01_0"]
    assert (cut.path, cut.start, cut.end, cut.split) == (videos / names[3], 0, None, "train")
    subsets = [[found[id].labels[f"subset_{name}"] for name in ("head", "tail", "unseen")] for id in found]
    assert dict(zip(found, subsets, strict=True)) == {
        "P02_01_0": ["0", "1", "0"], "P01_11_0": ["1", "0", "0"], "P18_01_7": ["0", "1", "1"], "P03_01_4": ["", "", ""],
    }  # fmt: skip
    assert found["P03_01_4"].labels["verb_class"] == ""
    assert "1 of 4 actions are files of their own" in done.stderr


def test_the_subsets_of_validation_have_the_published_sizes_and_the_references_on_request(
    shared: Path, tmp_path: Path
) -> None:
    root = shared / "data/annotations/epic_kitchens_100"
    videos = touched(tmp_path / "v", "P01_11.MP4")
    found = EpicKitchens(videos=videos).clips(root)
    assert any(
        "9668 actions; subset_head 6563 (9113), subset_tail 3105 (3105), subset_unseen 1065 (9668)" in remark
        for remark in found.remarks
    )
    assert len(found.clips) + len(found.missing) == 9668
    as_reference = EpicKitchens(videos=videos, reference_subsets=True).clips(root).clips
    assert {clip.labels["subset_unseen"] for clip in as_reference} == {"1"}
    head, more = (
        {clip.id for clip in each if clip.labels["subset_head"] == "1"} for each in (found.clips, as_reference)
    )
    assert head < more


def test_rows_without_a_file_and_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    bad = [
        row("P01_11_1", verb="take"),
        row("P01_11_2", start="1.56"),
        row("P01_11_3", stop="00:00:01.56"),
        row("P01_11_0"),
        row("P01_11_5", noun=""),
        row("P01_11_6", verb=97),
        row("P01_11_7", noun=300),
    ]
    root = annotated(tmp_path / "a", row("P01_11_0"), *bad, row("P01_12_0", "P01_12"))
    videos = touched(tmp_path / "v", "P01_11.MP4")
    done = manifest_command("epic-kitchens", root, "--videos", videos, "--out", tmp_path / "e.csv", status=1)
    assert [clip.id for clip in read_manifest(tmp_path / "e.csv")] == ["P01_11_0"]
    assert "left out: 1 (P01_12.MP4 of P01_12_0)" in done.stderr
    assert "rows that cannot be used, left out: 7" in done.stderr
    refused = EpicKitchens(videos=videos).clips(root).refused
    path = root / "EPIC_100_validation.csv"
    assert refused == [
        f"{path}, row 3, column 'verb_class': 'take' is not the number of a class",
        f"{path}, row 4, column 'start_timestamp': '1.56' is not a time like 00:01:02.50",
        f"{path}, row 5, column 'stop_timestamp': '00:00:01.56' is not after '00:00:01.56'",
        f"{path}, row 6, column 'narration_id': 'P01_11_0' is also in row 2",
        f"{path}, row 7, column 'noun_class': it is empty",
        f"{path}, row 8, column 'verb_class': '97', but the classes are 0 to 96",
        f"{path}, row 9, column 'noun_class': '300', but the classes are 0 to 299",
    ]


def test_annotations_and_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    root = annotated(tmp_path / "a", row("P01_11_0"))
    videos = touched(tmp_path / "v", "a/P01_11.MP4", "b/P01_11.mp4")
    with pytest.raises(ManifestError, match=r"2 files are named 'P01_11': .*a/P01_11.MP4, .*b/P01_11.mp4"):
        EpicKitchens(videos=videos).clips(root)
    with pytest.raises(ManifestError, match=r"none of the videos of 1 actions is below it, such as P01_11.MP4"):
        EpicKitchens(videos=root).clips(root)
    (root / "EPIC_100_tail_verbs.csv").write_text("verb\nten\n")
    with pytest.raises(ManifestError, match=r"tail_verbs.csv, row 2, column 'verb': 'ten' is not the number"):
        EpicKitchens(videos=videos).clips(root)
    (root / "EPIC_100_validation.csv").write_text(HEAD.replace("noun_class", "nouns", 1) + row("P01_11_0"))
    with pytest.raises(ManifestError, match=r"EPIC_100_validation.csv: no column 'noun_class'"):
        EpicKitchens(videos=videos).clips(root)
    with pytest.raises(ManifestError, match=r"no EPIC_100_train.csv, nor of validation or test"):
        EpicKitchens(videos=videos).clips(tmp_path)
    done = manifest_command("epic-kitchens", root, "--out", tmp_path / "e.csv", status=2)
    assert "--videos is needed" in done.stderr


def test_without_lists_of_tail_classes_there_are_no_head_and_tail(tmp_path: Path) -> None:
    root = annotated(tmp_path / "a", row("P18_11_0", "P18_11"), tail=False)
    found = EpicKitchens(videos=touched(tmp_path / "v", "P18_11.MP4")).clips(root)
    assert "subset_head" not in found.clips[0].labels
    assert found.clips[0].labels["subset_unseen"] == "1"
    assert any("EPIC_100_tail_verbs.csv and EPIC_100_tail_nouns.csv not in" in remark for remark in found.remarks)


def test_ten_second_cuts_get_the_split_of_their_video_and_are_sorted(tmp_path: Path) -> None:
    root = annotated(tmp_path / "a", row("P01_11_0"))
    annotated(root, row("P02_01_0", "P02_01"), split="train")
    names = ("P02_01_000010_000020", "P01_11_000000_000010", "P09_01_000000_000010", "P01_11_00000156_01020350")
    videos = touched(tmp_path / "v", *(f"segments/{name}.MP4" for name in names))
    manifest_command("epic-kitchens", root, "--videos", videos, "--kind", "segments", "--out", tmp_path / "s.csv")
    found = read_manifest(tmp_path / "s.csv")
    assert [(clip.id, clip.split, clip.end) for clip in found] == [(names[1], "val", None), (names[0], "train", None)]
    with pytest.raises(ManifestError, match="not a single file such as"):
        EpicKitchens(videos=root, kind="segments").clips(root)
