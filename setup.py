"""The long description, which a registry shows without the files that the README links to; the rest is in setup.cfg."""

import re
from pathlib import Path


def standalone(readme: str) -> str:
    """The README without pictures of the clone, and with the paths that it links to as text."""
    readme = re.sub(r"!\[[^]]*\]\((?!https://)[^)]*\)\n+(\*.*\*\n+)?", "", readme)  # a picture, and its caption
    return re.sub(r"\[([^]]*)\]\((?!https://)([^)]*)\)", _as_text, readme)


def _as_text(link: re.Match[str]) -> str:
    text, path = link[1], link[2].partition("#")[0]
    return text if path in ("", text) else f"{text} (`{path}`)"


if __name__ == "__main__":
    from setuptools import setup

    setup(long_description=standalone(Path("README.md").read_text(encoding="utf-8")))
