"""`egotools manifest`: which clips there are."""

import click

from egotools.datasets.names import BUILT_IN
from egotools.extractors.plug_ins import DATASETS, find_plug_in, offered

from ..groups import LazyGroup

COMMANDS = {
    "folder": ("manifest.folder:folder", "Find videos, frame folders, images, sound files and stacks of frames."),
    "check": ("manifest.check:check", "Open every file once and report what is wrong."),
    "segments": ("manifest.segments:segments", "Segments of annotations: tables, BORIS, ELAN, Datavyu, Praat, frames."),
    "windows": ("manifest.partition:cut", "Cut clips into pieces of equal length."),
    "split": ("manifest.partition:split", "Draw new splits at random; what shares a value stays together."),
    "segmentation": (
        "manifest.segmentation:segmentation",
        "Features, labels a frame and bundles (GTEA, 50Salads, Breakfast), into a cache, manifest and segments.",
    ),
    "moments": ("manifest.moments:moments", "List moments of interaction of a cache, to look at; with pictures."),
    "ego4d": ("manifest.ego4d:ego4d", "Ego4D: queries, moments, Goal-Step; hands and objects: state changes, actions."),
    "table": ("manifest.datasets:table", "List rows that have features only, from a .npz or a CSV."),
}


class Manifests(LazyGroup):
    """Its own commands, and one for each dataset, whose flags are the fields of the dataset's class."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        is_own = name in self.table and name not in BUILT_IN
        if is_own or not (name in BUILT_IN or ".py:" in name or find_plug_in(DATASETS, name)):
            return super().get_command(context, name)
        from .datasets import dataset_command

        return dataset_command(name)

    def summaries(self) -> dict[str, str]:
        return {**super().summaries(), **offered(DATASETS, self.table).lines()}

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(context, formatter)
        if ignored := offered(DATASETS, self.table).ignored:
            with formatter.section("Datasets of other packages"):
                formatter.write_dl([*ignored.items()])
        with formatter.section("Your own dataset"):
            formatter.write_dl([("FILE.py:CLASS", "A frozen dataclass with clips(root); see docs/manifests.md.")])


@click.group(cls=Manifests, table=COMMANDS | BUILT_IN)
def manifest() -> None:
    """List clips: make, check, cut and split manifests.

    A manifest is a CSV with columns id, path, start, end, split, optional fps and root; every other column is a label.

    \b
    egotools manifest folder videos/ --out m.csv
    egotools manifest check m.csv
    egotools manifest segments observations.csv --videos videos/ --out s.csv
    egotools manifest windows m.csv --length 2 --out m.csv
    egotools manifest split m.csv --by video --fractions train=0.8,test=0.2 --out m.csv
    """
