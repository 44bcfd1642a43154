"""RepLAI on one real video with sound, in under a minute: moments, a picture of them, pre-training, evaluation.

    python examples/audible_moments.py VIDEO FOLDER

The first 25 seconds of the video are cut into clips of three seconds, one each second, and the networks see 48 pixels
for eight steps. They are evaluated on the clips that they were trained on. So the figures mean little: this shows the
commands, which it prints and runs. FOLDER gets `pictures/`, the sound of each clip with its moments, and
`runs/replai/training.png`.
"""

import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from egotools.manifests.table import write_manifest
from egotools.media.video import open_frames
from egotools.types import Clip

LONGEST = 25.0  # seconds of the video
MOMENTS = "--manifest s.csv --moments caches/moments.lmdb"
COMMANDS = (
    "manifest windows v.csv --length 3 --hop 1 --min-length 3 --out s.csv",
    "extract --manifest s.csv --out caches moments",
    "manifest moments --features caches/moments.lmdb --manifest s.csv --margin 0.6 --out m.csv --picture pictures",
    f"train replai {MOMENTS} --preset small --steps 8 --out runs/replai",
    f"eval replai --run runs/replai {MOMENTS} --untrained",
)


def main(video: Path, folder: Path) -> None:
    """Writes the manifest, then runs the commands in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(open_frames(video)) as frames:
        end = min(float(frames.info.end), LONGEST)
    write_manifest(folder / "v.csv", [Clip(video.stem, video.absolute(), end=end)])
    for line in COMMANDS:
        sys.stderr.write(f"\n$ egotools {line}\n")
        done = subprocess.run([sys.executable, "-m", "egotools", *shlex.split(line)], cwd=folder, check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
