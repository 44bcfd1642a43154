"""Features, caches, light models and evaluation for egocentric video.

| to | use |
|---|---|
| list clips | `egotools.read_manifest`, `egotools.manifests.folders.list_folder` |
| extract features | `egotools.extract`, `egotools.extractors.lookup.find_extractor` |
| read a cache | `egotools.open` |
| derive or rebuild caches | `egotools.derive.deriving.derive`, `egotools.rebuild.rebuilding.rebuild` |
| join features and labels | `egotools.read_table` |
| feed a network of your own | `egotools.CacheDataset` |
| evaluate | `egotools.evaluate.knn.knn`, `egotools.methods.probe.probe.probe` |
| train and keep a run | `egotools.training.fit.fit`, `egotools.training.runs.once` |
| write an extractor | `egotools.types.FrameExtractor`, `egotools.config.option`, `egotools.sampling` |

What goes wrong with a user's files is an `egotools.EgotoolsError`.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["CacheDataset", "EgotoolsError", "extract", "open", "read_manifest", "read_table"]

if TYPE_CHECKING:
    from egotools.errors import EgotoolsError
    from egotools.extraction.by_name import extract
    from egotools.manifests import read_manifest
    from egotools.stores import open_store as open
    from egotools.tables import read_table
    from egotools.tables.cache_dataset import CacheDataset
else:
    # `import egotools` loads nothing: each function is imported when it is first used. Any other name is an
    # AttributeError, for type checkers too, which see the imports above.
    _PLACES = {
        "CacheDataset": "egotools.tables.cache_dataset:CacheDataset",
        "EgotoolsError": "egotools.errors:EgotoolsError",
        "extract": "egotools.extraction.by_name:extract",
        "open": "egotools.stores:open_store",
        "read_manifest": "egotools.manifests:read_manifest",
        "read_table": "egotools.tables:read_table",
    }

    def __getattr__(name):
        from importlib import import_module

        if name not in _PLACES:
            raise AttributeError(f"module 'egotools' has no attribute {name!r}")
        module, _, attribute = _PLACES[name].partition(":")
        globals()[name] = found = getattr(import_module(module), attribute)
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
