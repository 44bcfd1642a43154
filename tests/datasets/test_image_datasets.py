"""Labeled-S, mini-ImageNet, ImageNet, iNaturalist and split files, by small copies of their layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from media_files import touched
from typing_commands import manifest_command

from egotools.datasets.imagenet import ImageNet
from egotools.datasets.inaturalist import INaturalist
from egotools.datasets.labeled_s import LabeledS
from egotools.datasets.mini_imagenet import MiniImageNet
from egotools.datasets.split_file import SplitFile
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest
from egotools.types import Clip


def splits(clips: list[Clip]) -> dict[str, str]:
    return {clip.id: clip.split for clip in clips}


def test_half_of_each_class_of_labeled_s_is_train_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    images = [f"ball/img_{number}.jpeg" for number in (1, 2, 10)] + ["toy/img_4.jpeg", "toy/img_3.jpeg"]
    touched(tmp_path / "s", *images, "toy/notes.txt", "toy/.DS_Store")
    done = manifest_command("labeled-s", tmp_path / "s", "--out", tmp_path / "s.csv")
    clips = read_manifest(tmp_path / "s.csv")
    assert splits(clips) == {
        "ball/img_1": "train", "ball/img_10": "test", "ball/img_2": "test", "toy/img_3": "train", "toy/img_4": "test",
    }  # fmt: skip
    assert [clip.id for clip in clips] == sorted(clip.id for clip in clips)
    assert {clip.labels["label"] for clip in clips} == {"ball", "toy"}
    assert "1 files of other kinds ignored: toy/notes.txt" in done.stderr
    assert "images of 2 classes, not of 26" in done.stderr


def test_a_split_file_of_labeled_s_says_the_order_and_missing_images_are_named(tmp_path: Path) -> None:
    touched(tmp_path, "ball/img_1.jpeg", "ball/img_2.jpeg", "toy/img_3.jpeg", "toy/img_4.jpeg")
    lines = ["ball/img_2.jpeg 0", "toy/img_4.jpeg\t25", "toy/img_3.jpeg 25", "ball/img_1.jpeg 0", "toy/img_9.jpeg 25"]
    (tmp_path / "list.txt").write_bytes("\r\n".join([*lines, ""]).encode())
    flags = ("--split-file", tmp_path / "list.txt", "--out", tmp_path / "s.csv")
    done = manifest_command("labeled-s", tmp_path, *flags, status=1)
    assert "files that do not exist, their clips are left out: 1" in done.stderr
    assert "img_9.jpeg" in done.stderr
    assert "5 lines, the published one 5787" in done.stderr
    clips = read_manifest(tmp_path / "s.csv")
    assert splits(clips) == {
        "ball/img_1": "test", "ball/img_2": "train", "toy/img_3": "test", "toy/img_4": "train",
    }  # fmt: skip
    assert clips[3].labels == {"label": "toy", "number": "25"}


def test_the_published_files_are_split_by_their_lines(tmp_path: Path) -> None:
    """A file of exactly as many lines as published, whose classes would be split otherwise."""
    names = [f"c{number % 2}/img_{number}.jpeg" for number in range(5787)]
    names.sort(key=lambda name: name[:2])  # all of the class c0 first
    (tmp_path / "list.txt").write_text("".join(f"{name} {name[1]}\n" for name in names))
    touched(tmp_path, names[0], names[2885], names[2886])
    found = LabeledS(split_file=tmp_path / "list.txt").clips(tmp_path)
    by_line = {name.removesuffix(".jpeg"): number < 2886 for number, name in enumerate(names)}
    assert {clip.id: clip.split == "train" for clip in found.clips} == {
        names[number].removesuffix(".jpeg"): by_line[names[number].removesuffix(".jpeg")] for number in (0, 2885, 2886)
    }
    assert len(found.missing) == 5784


def test_mini_imagenet_is_split_by_folder_or_by_so_many_lines(tmp_path: Path) -> None:
    lines = ["train/n01/a.JPEG 1", "train/n02/b.JPEG 14", "val/n01/c.JPEG 1", "val/n02/d.JPEG 14"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    touched(tmp_path / "ILSVRC/Data/CLS-LOC", *(line.split()[0] for line in lines))
    found = MiniImageNet(split_file=tmp_path / "list.txt").clips(tmp_path / "ILSVRC")
    assert [clip.split for clip in found.clips] == ["train", "train", "test", "test"]
    assert found.clips[1].labels == {"label": "n02", "number": "14"}
    assert found.clips[1].path.is_file()
    fewer = MiniImageNet(split_file=tmp_path / "list.txt", train_lines=1).clips(tmp_path / "ILSVRC")
    assert [clip.split for clip in fewer.clips] == ["train", "test", "test", "test"]
    flags = ("--split-file", tmp_path / "list.txt", "--out", tmp_path / "m.csv")
    manifest_command("split-file", tmp_path / "ILSVRC/Data/CLS-LOC", *flags)
    assert [clip.labels["label"] for clip in read_manifest(tmp_path / "m.csv")] == ["1", "14", "1", "14"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train/n01/a.JPEG", "row 1: 'train/n01/a.JPEG' is not a path and a whole number"),
        ("train/n01/a.JPEG 1.5", "is not a path and a whole number"),
        ("train/../../a.JPEG 1", "row 1: 'train/../../a.JPEG' does not stay below"),
        ("/etc/a.JPEG 1", "does not stay below"),
        ("train/n01/a.JPEG 1\ntrain/n01/a.JPEG 1", "row 2: 'train/n01/a.JPEG' is also in .*row 1"),
        ("train/n01/a.JPEG 1\ntrain/n01/b.JPEG 2", "row 2: 'n01' has the number 2, 1 in"),
        ("n01/a.JPEG 1", "is not below train/, val/ or test/; give --train-lines"),
        ("train/n01/a.JPEG 1\nval/n01/b.JPEG 1", "none of the 2 files"),
        ("\n", "the list is empty"),
    ],
)
def test_split_files_that_cannot_be_used_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ManifestError, match=says):
        MiniImageNet(split_file=tmp_path / "list.txt").clips(tmp_path)
    with pytest.raises(ValueError, match="--split-file is needed"):
        SplitFile()


def test_imagenet_lists_class_folders_and_names_what_is_odd(tmp_path: Path) -> None:
    touched(tmp_path, "train/n01/n01_1.JPEG", "train/n01/x.tar", "val/n02/v.JPEG", "val/v.JPEG")
    (tmp_path / "train/n03").mkdir()
    found = ImageNet().clips(tmp_path)
    assert splits(found.clips) == {"train/n01/n01_1": "train", "val/n02/v": "val"}
    assert found.remarks == [
        "1 files of other kinds ignored: train/n01/x.tar",
        "1 class folders without images: train/n03",
        "1 files beside the class folders ignored: val/v.JPEG",
        "1 classes of val are not in train: n02",
        "images of 2 classes, not of 1000",
    ]
    with pytest.raises(ManifestError, match="no train/ and no val/"):
        ImageNet().clips(tmp_path / "train")


def write_inat(root: Path, split: str, images: list[Any], annotations: list[Any]) -> None:
    (root / f"{split}2018.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def test_inaturalist_joins_images_and_categories_by_the_images_number(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"train_val2018/Aves/{number}.jpg"} for number in (7, 3, 5)]
    write_inat(tmp_path, "train", images, [{"image_id": 3, "category_id": 30}, {"image_id": 7, "category_id": 70}])
    write_inat(
        tmp_path, "val", [{"id": 3, "file_name": "train_val2018/Aves/1.jpg"}], [{"image_id": 3, "category_id": 7}]
    )
    touched(tmp_path, *(f"train_val2018/Aves/{number}.jpg" for number in (1, 3, 7)))
    done = manifest_command("inaturalist", tmp_path, "--out", tmp_path / "i.csv")
    found = {clip.path.stem: (clip.split, clip.labels["label"]) for clip in read_manifest(tmp_path / "i.csv")}
    assert found == {"1": ("val", "7"), "3": ("train", "30"), "7": ("train", "70")}
    assert "train2018.json: 1 images without a category left out: train_val2018/Aves/5.jpg" in done.stderr


def test_annotations_of_inaturalist_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    one = {"id": 1, "file_name": "../1.jpg"}
    write_inat(tmp_path, "val", [one], [{"image_id": 1, "category_id": 1}])
    with pytest.raises(ManifestError, match=r"image 1: '../1.jpg' does not stay below"):
        INaturalist().clips(tmp_path)
    write_inat(tmp_path, "val", [one], [{"image_id": 1, "category_id": 1}, {"image_id": 1, "category_id": 2}])
    with pytest.raises(ManifestError, match=r"annotations\[1\]: image 1 has category_id '2', '1' before"):
        INaturalist().clips(tmp_path)
    write_inat(tmp_path, "val", [{"id": 1}], [])
    with pytest.raises(ManifestError, match=r"images\[0\] has no id and file_name"):
        INaturalist().clips(tmp_path)
