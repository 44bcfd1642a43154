"""Which clips of an interrupted run go on from their first missing row, and which begin again."""

import os
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from egotools.extraction.messages import Done, ReadingTask
from egotools.extraction.request import CacheRequest, Extraction
from egotools.extraction.writing import Writing
from egotools.stores.source import Source, SourceFiles
from egotools.stores.unfinished import Begun, Unfinished
from egotools.types import Clip, ClipExtractor


def resumed(
    tasks: Sequence[ReadingTask], requests: Sequence[CacheRequest], writing: Writing, result: Extraction
) -> tuple[list[ReadingTask], dict[tuple[int, int], Begun]]:
    """The tasks, with the rows that are done already; and what is known of those clips, by number and position.

    Rows of a file that has changed since are dropped. What was resumed, and what begins again and why, is added to
    the result.
    """
    files, found, begun = SourceFiles(), [], {}
    for task in tasks:
        done = {}
        for position in task.positions:
            cache, id = requests[position].cache, task.clip.id
            unfinished = writing.unfinished(position).get(id)
            if unfinished is None:
                continue
            problem = _problem(unfinished, task.clip, requests[position], files)
            if problem:
                writing.drop(position, id)
            elif len(times := writing.resume(position, id)):
                checksum = zlib.crc32(np.ascontiguousarray(times, "<f8").data)
                done[position] = Done(len(times), unfinished.begun.each, checksum)
                begun[task.number, position] = _as_now(unfinished.begun, task.clip)
                result.resumed[cache][id] = len(times)
                continue
            result.begun_again[cache][id] = problem or "its first rows were damaged"
        found.append(replace(task, done=done) if done else task)
    return found, begun


def _as_now(begun: Begun, clip: Clip) -> Begun:
    """With the file as it is now, which counts as unchanged: copies have rounded times."""
    try:
        return replace(begun, source=Source.of(clip))
    except OSError:  # it is gone, so that the clip will fail
        return begun


def _problem(unfinished: Unfinished, clip: Clip, request: CacheRequest, files: SourceFiles) -> str:
    """Why the rows of an unfinished clip cannot be used; empty if they can."""
    begun = unfinished.begun
    if begun.source.path != os.path.abspath(clip.path):
        return f"its file was {begun.source.path}"
    if change := files.change(begun.source, clip):
        return change
    if isinstance(request.extractor, ClipExtractor):
        return "its extractor reads files whole"
    return "" if unfinished.rows % begun.each == 0 else "its rows are no whole number of windows"
