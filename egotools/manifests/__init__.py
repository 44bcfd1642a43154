"""Manifests: the table of clips, and what makes, checks and cuts them."""

from egotools.manifests.table import read_manifest, write_manifest

__all__ = ["read_manifest", "write_manifest"]
