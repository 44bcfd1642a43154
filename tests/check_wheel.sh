#!/usr/bin/env bash
# Builds the wheel, installs it beside nothing of this checkout, and uses it from another folder.
#
#   tests/check_wheel.sh .venv/bin/python     # the environment that has the dependencies and `build`
set -eu

python=$(realpath -s "${1:?usage: tests/check_wheel.sh PYTHON}")
repository=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH

echo "wheel: building"
# By way of the source archive, so that nothing left over in build/ gets in.
"$python" -m build --outdir "$work/dist" "$repository" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
wheel=$(ls "$work"/dist/*.whl)
archived=$(tar -tzf "$work"/dist/*.tar.gz)
for file in CHANGELOG.md CITATION.cff docs/session.md docs/images/moments.png examples/motion.py tests/conftest.py; do
    grep -q "^egotools-[^/]*/$file\$" <<<"$archived" || { echo "wheel: the source archive lacks $file"; exit 1; }
done
"$python" -m zipfile -e "$wheel" "$work/unpacked"
if grep -E '\]\([^h]' "$work"/unpacked/*.dist-info/METADATA; then
    echo "wheel: these lines of the description lead into a clone"
    exit 1
fi
names=$("$python" -m zipfile -l "$wheel" | awk 'NR > 1 { split($1, part, "/"); print part[1] }' | sort -u)
if [ "$(echo "$names" | grep -v '\.dist-info$')" != egotools ]; then
    echo "wheel: the top level holds more than egotools:" $names
    exit 1
fi

echo "wheel: installing"
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-deps --no-index "$wheel"
# Dependencies are seen through a path file, written last: pip must not take the editable install there for this one.
ours=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$ours/dependencies.pth"

echo "wheel: running from another folder"
mkdir -p "$work/elsewhere/videos"
cd "$work/elsewhere"
PATH="$work/venv/bin:$PATH"
python - <<'PYTHON'
import sys

import av
import numpy as np

import egotools
import egotools.cli

assert egotools.__file__.startswith(sys.prefix), egotools.__file__
assert egotools.cli.__file__.startswith(sys.prefix), egotools.cli.__file__
with av.open("videos/grey.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for index in range(20):
        image = np.full((48, 64, 3), 5 * index, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(stream.encode())
PYTHON
egotools --help >/dev/null
egotools manifest folder videos --out m.csv
egotools manifest check m.csv
egotools extract --manifest m.csv --out caches color
egotools cache ls caches
python - <<'PYTHON'
from pathlib import Path

from egotools.stores import open_store

rows = open_store(Path("caches/color.lmdb"))["grey"]
assert len(rows.values) > 0, "no rows"
PYTHON
echo "wheel: works"
