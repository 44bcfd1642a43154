"""What a cache lies on."""

from __future__ import annotations

from pathlib import Path

from egotools.stores.filesystems import network_filesystem


def test_network_file_systems_are_recognized_by_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nhost:/x /my\\040disk nfs4 rw 0 0\n/dev/sdb /my\\040disk/local xfs rw 0 0\n"
    )
    assert network_filesystem(Path("/my disk/caches/a.lmdb"), mounts) == "nfs4"
    assert network_filesystem(Path("/my disk/local/a.lmdb"), mounts) is None
    assert network_filesystem(Path("/my disks/a.lmdb"), mounts) is None
    assert network_filesystem(tmp_path, tmp_path / "none") is None
