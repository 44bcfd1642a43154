"""The parts of the extraction engine: reading workers, batches, collecting, writing; `egotools.extract` runs them."""
