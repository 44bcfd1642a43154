"""ELAN: tiers, slots without a time, annotations that refer to others, the clock of a medium; and hostile XML."""

from __future__ import annotations

import re

import pytest
from annotated import read, said

from egotools.errors import ManifestError

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-01T10:00:00+01:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/my%20films/sound.wav" MIME_TYPE="audio/x-wav"/>
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/my%20films/film.mp4" MIME_TYPE="video/mp4" {origin}
        RELATIVE_MEDIA_URL="../my%20films/film.mp4"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts2"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="500"/>
    <TIME_SLOT TIME_SLOT_ID="ts6" TIME_VALUE="3000"/>
    <TIME_SLOT TIME_SLOT_ID="ts7"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="t" TIER_ID="Behavior" PARTICIPANT="anna">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>eat</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="t" TIER_ID="step" PARENT_REF="Behavior">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>grasp</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
      <ANNOTATION_VALUE>lift</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a4" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>bite</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a9" TIME_SLOT_REF1="ts4" TIME_SLOT_REF2="ts7">
      <ANNOTATION_VALUE>open</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="g" TIER_ID="hand" PARENT_REF="Behavior">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a6" ANNOTATION_REF="a5">
      <ANNOTATION_VALUE>firmly</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>left</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a7" ANNOTATION_REF="nothing">
      <ANNOTATION_VALUE>lost</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="t" TIER_ID="place">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a8" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts6">
      <ANNOTATION_VALUE>kitchen</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_each_annotation_is_a_segment_in_the_column_of_its_tier(tmp_path):
    found = read(tmp_path / "x.eaf", EAF.format(origin=""), "film.mp4", "sound.wav")
    film = "../my%20films/film.mp4"
    assert said(found, "tier") == [
        (film, 1.0, 4.0, "Behavior"),
        (film, 1.0, 2.0, "step"),
        (film, 2.0, 3.0, "step"),
        (film, 3.0, 4.0, "step"),
        (film, 0.5, 3.0, "place"),
    ]
    assert found.events[0].labels == {
        "Behavior": "eat",
        "tier": "Behavior",
        "participant": "anna",
        "hand": "left firmly",
    }
    assert found.events[4].labels == {"place": "kitchen", "tier": "place", "hand": "firmly"}
    (lost,) = found.lost.values()
    assert lost == ["tier 'step', annotation a9", "tier 'hand', annotation a7: refers to none"]


def test_tiers_that_are_not_chosen_describe_the_segments(tmp_path):
    found = read(tmp_path / "x.eaf", EAF.format(origin=""), "film.mp4", tier=("Behavior",))
    (event,) = found.events
    assert event.labels["place"] == "kitchen"
    assert event.labels["step"] == "lift"  # what lies in the middle
    assert "described by 'step', 'place', 'hand'" in found.remarks[-1]
    with pytest.raises(ManifestError, match="no annotations in a tier 'nothing'; there are 'Behavior'"):
        read(tmp_path / "x.eaf", EAF.format(origin=""), tier=("nothing",))


def test_annotations_that_refer_to_one_share_its_time(tmp_path):
    found = read(tmp_path / "x.eaf", EAF.format(origin=""), "film.mp4", tier=("hand",))
    assert [(event.start, event.end, event.labels["hand"], event.labels["Behavior"]) for event in found.events] == [
        (1.0, 4.0, "left", "eat"),
        (1.0, 4.0, "firmly", "eat"),
    ]


def test_the_clock_of_a_medium_may_begin_later(tmp_path):
    found = read(tmp_path / "x.eaf", EAF.format(origin='TIME_ORIGIN="2500"'), "film.mp4", tier=("place",))
    assert [(event.start, event.end) for event in found.events] == [(3.0, 5.5)]


def test_parts_of_an_annotation_are_in_the_order_that_they_say(tmp_path):
    part = (
        '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{}" ANNOTATION_REF="a1"{}><ANNOTATION_VALUE>{}</ANNOTATION_VALUE>'
    )
    chain = [("p3", "p2", "c"), ("p1", "", "a"), ("p2", "p1", "b")]
    parts = [part.format(id, f' PREVIOUS_ANNOTATION="{last}"' if last else "", text) for id, last, text in chain]
    tier = "".join(f"{each}</REF_ANNOTATION></ANNOTATION>" for each in parts)
    head, hand, rest = EAF.format(origin="").partition('  <TIER LINGUISTIC_TYPE_REF="g"')
    found = read(
        tmp_path / "x.eaf", f'{head}<TIER TIER_ID="part">{tier}</TIER>{hand}{rest}', "film.mp4", tier=("part",)
    )
    assert [each[1:] for each in said(found, "part")] == [(1, 2, "a"), (2, 3, "b"), (3, 4, "c")]


def test_a_tier_that_is_called_tier_keeps_its_values(tmp_path):
    content = EAF.format(origin="").replace('"Behavior"', '"tier"')
    found = read(tmp_path / "x.eaf", content, "film.mp4", tier=("tier",))
    labels = found.events[0].labels
    assert (labels["table tier"], labels["tier"], labels["participant"]) == ("eat", "tier", "anna")


def test_a_medium_without_an_address_is_none(tmp_path):
    content = re.sub(r'\w*MEDIA_URL="[^"]*"', 'MEDIA_URL=""', EAF.format(origin=""))
    content = re.sub(r'\s+MEDIA_URL=""/>', "/>", content)
    assert {event.video for event in read(tmp_path / "film.eaf", content, "film.mp4").events} == {"film"}


ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>
<ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>
"""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (EAF.format(origin="")[:900], "damaged XML"),
        (EAF.format(origin="").replace("UTF-8", "nothing"), "XML in an encoding that cannot be read"),
        (EAF.format(origin="").replace("UTF-8", "big5"), "XML in an encoding that cannot be read"),
        (ENTITIES, "DOCTYPE"),
        (ENTITIES.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"), "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DOCTYPE"),
        ("<html><body/></html>", "begins with <html>"),
        ("<a>" * 100_000, "nested deeper"),
        (EAF.format(origin="").replace("milliseconds", "PAL-frames"), "PAL-frames"),
        (EAF.format(origin="").replace('"1000"', '"soon"'), "'soon' is not a number of milliseconds"),
        ("<ANNOTATION_DOCUMENT/>", "no annotations"),
    ],
)
def test_hostile_and_other_xml_is_refused(tmp_path, content, problem):
    with pytest.raises(ManifestError, match=problem):
        read(tmp_path / "x.eaf", content, "film.mp4")


def test_options_that_mean_nothing_in_a_format_are_not_ignored(tmp_path):
    with pytest.raises(ManifestError, match="--unit means nothing in files of the format elan; leave it out"):
        read(tmp_path / "x.eaf", EAF.format(origin=""), "film.mp4", unit="seconds")
    with pytest.raises(ManifestError, match="--tier means nothing in files of the format table"):  # an export of ELAN
        read(tmp_path / "x.txt", "Tier\tstart\tend\ttext\nt\t0\t1\ta\n", "x.mp4", tier=("t",))


def test_ids_that_are_not_unique_go_in_no_circle(tmp_path):
    again = '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a1" ANNOTATION_REF="a1"/></ANNOTATION>'
    head, hand, rest = EAF.format(origin="").partition('  <TIER LINGUISTIC_TYPE_REF="g"')
    content = f'{head}<TIER TIER_ID="x">{again * 30}</TIER>{hand}{rest}'
    assert len(read(tmp_path / "x.eaf", content, "film.mp4", tier=("Behavior",)).events) == 1
