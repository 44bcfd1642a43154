"""Features, caches, light models and evaluation for egocentric video.

| to | use |
|---|---|
| list clips | `egotools.manifests.read_manifest`, `egotools.manifests.folders.list_folder` |
| extract features | `egotools.extractors.lookup.find_extractor`, `egotools.extract.engine.extract` |
| read a cache | `egotools.stores.open_store` |
| derive or rebuild caches | `egotools.derive.deriving.derive`, `egotools.rebuild.rebuilding.rebuild` |
| join features and labels | `egotools.tables.read_table` |
| evaluate | `egotools.evaluate.knn.knn`, `egotools.methods.probe.probe.probe` |
| train and keep a run | `egotools.training.fit.fit`, `egotools.training.runs.once` |
| write an extractor | `egotools.types.FrameExtractor`, `egotools.config.option`, `egotools.sampling` |

What goes wrong with a user's files is an `egotools.errors.EgotoolsError`.
"""

__version__ = "0.1.0"
