"""Frame-wise scores and predictions of four published methods, as files that egotools reads.

python examples/tcn_scores.py gtea.npz edtcn out/
egotools eval segmentation --predictions out/predictions.csv --segments out/segments.csv --average video --background 0

python examples/tcn_scores.py gtea.npz svm out/
egotools manifest segmentation --features out/features --labels out/groundTruth --mapping out/mapping.txt \
        --bundles out/splits --fps 1 --cache caches/gtea/svm.lmdb --out gtea.csv

The archive has `<method>/split<k>/<i>/<a>`: of video i of test list k the scores S [T, classes], and the predicted and
true classes P and Y [T]. Each method has its own frame rate, which the archive does not state: here a frame lasts a
second. Classes are named by their numbers. A video's id is `split<k>_<i>`; it is in the test bundle of split k, and in
the train bundles of the others.

Source:
    the predictions in colincsl/TemporalConvolutionalNetworks; Lea et al., CVPR 2017.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

import numpy as np

from egotools.manifests.segments import Segment, write_segments


def runs(id: str, classes: np.ndarray) -> list[Segment]:
    """The runs of equal classes [T] of a video."""
    found, at = [], 0
    for number, run in groupby(classes.tolist()):
        end = at + len([*run])
        found.append(Segment(id, at, end, str(number), id))
        at = end
    return found


def convert(archive: Path, method: str, out: Path) -> None:
    """Writes features/, groundTruth/, splits/, mapping.txt, segments.csv and predictions.csv below `out`."""
    for folder in ("features", "groundTruth", "splits"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with np.load(archive, allow_pickle=False) as arrays:
        videos = sorted({tuple(name.split("/")[1:3]) for name in arrays.files if name.startswith(f"{method}/")})
        if not videos:
            sys.exit(f"{archive}: no method {method!r}; there are {sorted({n.split('/')[0] for n in arrays.files})}")
        of = {f"{split}_{i}": {a: arrays[f"{method}/{split}/{i}/{a}"] for a in "SPY"} for split, i in videos}
    for id, own in of.items():
        np.save(out / f"features/{id}.npy", own["S"].T)  # [classes, T], as usual in this layout
        (out / f"groundTruth/{id}.txt").write_text("".join(f"{number}\n" for number in own["Y"].tolist()))
    classes = next(iter(of.values()))["S"].shape[1]
    (out / "mapping.txt").write_text("".join(f"{number} {number}\n" for number in range(classes)))
    for split in sorted({split for split, _ in videos}):
        test = [id for id in of if id.startswith(f"{split}_")]
        for name, ids in (("test", test), ("train", [id for id in of if id not in test])):
            (out / f"splits/{name}.{split}.bundle").write_text("".join(f"{id}.txt\n" for id in ids))
    write_segments(out / "segments.csv", [each for id, own in of.items() for each in runs(id, own["Y"])])
    write_segments(out / "predictions.csv", [each for id, own in of.items() for each in runs(id, own["P"])])


if __name__ == "__main__":
    convert(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
