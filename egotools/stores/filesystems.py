"""Detects network file systems, which LMDB does not support."""

import os
import re
from pathlib import Path

NETWORK = re.compile(r"nfs|cifs|smb|afs|9p|ceph|lustre|gpfs|beegfs|gluster|sshfs|orangefs|pvfs|ncpfs|fuse\.(rclone|s3)")


def network_filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The kind of network file system that `path` is on ("nfs4"), or None if it is on a local disk.

    If the table of mounts cannot be read (not Linux), None.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    place = os.path.realpath(path)
    found, kind = "", ""
    for line in lines:
        _, escaped, this_kind, *_ = line.split(" ")
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped)
        is_above = place == mount or place.startswith(mount.rstrip("/") + "/")
        if is_above and len(mount) >= len(found):  # of two mounts at the same place the later one is visible
            found, kind = mount, this_kind
    return kind if NETWORK.search(kind) else None
