"""ELAN's annotation files (`.eaf`): XML with tiers, whose annotations refer to slots of time or to each other.

Source:
    EAF 2.3 to 3.0: times are milliseconds; a slot without a time lies evenly between its neighbors; the time in a
    medium is that of the annotation plus the medium's TIME_ORIGIN.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from egotools.annotations.events import Annotations, Reading
from egotools.annotations.tiers import Note, add_tiers
from egotools.annotations.videos import Videos
from egotools.errors import ManifestError

DEEPEST = 50  # levels of nesting; ELAN writes six
NO_TIME = "annotations without a time"

_Reference = tuple[str, Element, str]  # tier, annotation, whom it is about


def parse_xml(path: Path, content: bytes) -> Element:
    """The root element of an XML file without a document type, and so without entities of its own.

    Raises:
        ManifestError: it is damaged, has a document type, or is nested deeper than `DEEPEST`.
    """
    parser, builder, depth = expat.ParserCreate(), TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ManifestError(f"{path}: nested deeper than {DEEPEST} levels, so it is not an annotation file of ELAN")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ManifestError(f"{path}: it declares a document type (DOCTYPE), which ELAN does not write; remove it")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close()
    except expat.ExpatError as error:
        raise ManifestError(f"{path}: damaged XML: {error}") from error
    except (LookupError, ValueError) as error:  # an encoding that Python or expat does not know
        raise ManifestError(f"{path}: XML in an encoding that cannot be read ({error}); save it as UTF-8") from error


def read_elan(path: Path, content: bytes, options: Reading, videos: Videos, where: str) -> Annotations:
    """The annotations of the tiers.

    Raises:
        ManifestError: it is not a file of ELAN, is damaged, or has no such tier.
    """
    root = parse_xml(path, content)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise ManifestError(f"{path}: not a file of ELAN: it begins with <{root.tag}>")
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise ManifestError(f"{path}: its times are {units}, not milliseconds; save it with ELAN 4 or newer")
    found = Annotations(remarks=[f"{path}: annotations of ELAN"])
    video, origin = _medium(path, header, options, videos, found)
    slots = _slots(path, root)
    notes, references = [], []
    for tier in root.findall("TIER"):
        own, refer, lost = _read_tier(tier, slots, origin, where)
        notes += own
        references += refer
        for place in lost:
            found.lose(NO_TIME, place)
    _add_references(references, notes, where, found)
    if not notes:
        raise ManifestError(f"{path}: no annotations in it")
    add_tiers(path, video, notes, options.tier, found)
    return found


def _medium(
    path: Path, header: Element | None, options: Reading, videos: Videos, found: Annotations
) -> tuple[str, float]:
    """What the video is called, and its time in seconds where the annotations' is 0."""
    media = [] if header is None else header.findall("MEDIA_DESCRIPTOR")
    media = sorted(filter(_url, media), key=lambda each: not each.get("MIME_TYPE", "").startswith("video"))
    names = [(each, _url(each)) for each in media]
    known = [(each, name) for each, name in names if videos.has(name)]
    if options.video is not None:
        known = [(each, options.video) for each, name in known if videos.find(name) == _found(videos, options.video)]
    if len(known) > 1:
        found.remarks.append(f"{path}: of its {len(known)} videos the first, {known[0][1]!r}; another: --video")
    if known or (names and options.video is None):
        each, name = (known or names)[0]
        return name, _number(path, each.get("TIME_ORIGIN", "0"), "TIME_ORIGIN") / 1000
    moved = [each.get("TIME_ORIGIN", "0") for each in media if each.get("TIME_ORIGIN", "0") != "0"]
    if moved:
        found.remarks.append(
            f"{path}: its media begin at {', '.join(moved)} ms of their own time, but none of them is --video"
            f" {options.video!r}: its times are taken as they are; see --offset"
        )
    old = "" if header is None else header.get("MEDIA_FILE", "")
    return options.video or old or path.stem, 0.0


def _url(medium: Element) -> str:
    return medium.get("RELATIVE_MEDIA_URL") or medium.get("MEDIA_URL") or ""


def _found(videos: Videos, name: str) -> object:
    return videos.find(name) if videos.has(name) else None


def _slots(path: Path, root: Element) -> dict[str, float | None]:
    """The times of the slots in seconds; None where they have none."""
    slots: dict[str, float | None] = {}
    for slot in root.iterfind("TIME_ORDER/TIME_SLOT"):
        value = slot.get("TIME_VALUE")
        slots[slot.get("TIME_SLOT_ID", "")] = None if value is None else _number(path, value, "TIME_VALUE") / 1000
    return slots


def _number(path: Path, text: str, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 1 << 62
    if abs(value) > 1 << 40:
        raise ManifestError(f"{path}: {what} {text!r} is not a number of milliseconds")
    return value


def _read_tier(
    tier: Element, slots: Mapping[str, float | None], origin: float, where: str
) -> tuple[list[Note], list[_Reference], list[str]]:
    """The annotations of a tier that have slots, those that refer to others, and those whose slots have no time."""
    name, about = tier.get("TIER_ID", ""), tier.get("PARTICIPANT", "")
    references = [(name, each, about) for each in tier.iterfind("ANNOTATION/REF_ANNOTATION")]
    aligned = tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
    pairs = [(each.get("TIME_SLOT_REF1", ""), each.get("TIME_SLOT_REF2", "")) for each in aligned]
    notes, lost = [], []
    for each, (start, end) in zip(aligned, _times_of_tier(pairs, slots), strict=True):
        id, text = each.get("ANNOTATION_ID", ""), each.findtext("ANNOTATION_VALUE") or ""
        place = f"{where}tier {name!r}, annotation {id}"
        if start is None or end is None:
            lost.append(place)
        else:
            notes.append(Note(name, start + origin, end + origin, {name: text}, place, id, "", about))
    return notes, references, lost


def _times_of_tier(
    pairs: Sequence[tuple[str, str]], slots: Mapping[str, float | None]
) -> list[tuple[float | None, float | None]]:
    """Start and end of each annotation; within a chain of them, slots without a time lie evenly between the others."""
    chains: list[list[str]] = []
    for first, second in pairs:
        if chains and chains[-1][-1] == first:
            chains[-1].append(second)
        else:
            chains.append([first, second])
    found: list[tuple[float | None, float | None]] = []
    for chain in chains:
        times = [slots.get(slot) for slot in chain]
        known = [at for at, time in enumerate(times) if time is not None]
        for left, right in pairwise(known):
            begin, end = times[left] or 0.0, times[right] or 0.0
            for at in range(left + 1, right):
                times[at] = begin + (end - begin) * (at - left) / (right - left)
        found += list(pairwise(times))
    return found


def _add_references(references: Sequence[_Reference], notes: list[Note], where: str, found: Annotations) -> None:
    """Adds annotations that refer to others: they share the time of these evenly with their siblings of the tier."""
    by_id = {note.id: note for note in notes}
    left = list(references)
    while ready := [each for each in left if each[1].get("ANNOTATION_REF") in by_id]:  # parents before children
        left = [each for each in left if each[1].get("ANNOTATION_REF") not in by_id]
        siblings: dict[tuple[str, str], list[_Reference]] = {}
        for each in ready:
            siblings.setdefault((each[0], each[1].get("ANNOTATION_REF", "")), []).append(each)
        for (tier, parent), unordered in siblings.items():
            family = _in_order(unordered)
            for (_, element, about), (start, end) in zip(family, _shares(by_id[parent], len(family)), strict=True):
                id, text = element.get("ANNOTATION_ID", ""), element.findtext("ANNOTATION_VALUE") or ""
                place = f"{where}tier {tier!r}, annotation {id}"
                notes.append(Note(tier, start, end, {tier: text}, place, id, parent, about))
                by_id.setdefault(id, notes[-1])
    for tier, element, _ in left:
        found.lose(NO_TIME, f"{where}tier {tier!r}, annotation {element.get('ANNOTATION_ID', '')}: refers to none")


def _in_order(family: Sequence[_Reference]) -> list[_Reference]:
    """Siblings in the order that PREVIOUS_ANNOTATION says; those that it does not say keep that of the file."""
    ids = [each[1].get("ANNOTATION_ID", "") for each in family]
    after = {each[1].get("PREVIOUS_ANNOTATION", ""): at for at, each in enumerate(family)}
    order: dict[int, None] = {}
    there = set(ids)
    for first in sorted(range(len(family)), key=lambda at: family[at][1].get("PREVIOUS_ANNOTATION") in there):
        at: int | None = first
        while at is not None and at not in order:
            order[at] = None
            at = after.get(ids[at])
    return [family[at] for at in order]


def _shares(note: Note, count: int) -> list[tuple[float, float]]:
    """The time of an annotation in equal parts."""
    assert note.end is not None  # annotations of ELAN have two times
    borders = [note.start + (note.end - note.start) * at / count for at in range(count)] + [note.end]
    return list(pairwise(borders))
