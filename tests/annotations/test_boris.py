"""BORIS: projects and both kinds of exported tables, in the forms that its versions 4 to 9 write."""

from __future__ import annotations

import json
import re

import pytest
from annotated import read, said

from egotools.errors import ManifestError

# As BORIS 4 writes it: lines on the observation first, a column Status, and no types of behaviors.
OLD_TABULAR = (
    "Observation id\tday 1\t\t\t\t\t\t\t\n"
    "\t\t\t\t\t\t\t\t\n"
    "Media file(s)\t\t\t\t\t\t\t\t\n"
    "Player #1\tfilm.mp4\t\t\t\t\t\t\t\n"
    "Time offset (s)\t{offset}\t\t\t\t\t\t\t\n"
    "independent variables\t\t\t\t\t\t\t\t\n"
    "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus\n"
    "13.300\tfilm.mp4\t60.0\t25.0\tanna\tgroom\tself\t\tSTART\n"
    "14.000\tfilm.mp4\t60.0\t25.0\tben\tgroom\tself\t\tSTART\n"
    "15.250\tfilm.mp4\t60.0\t25.0\tanna\tsneeze\t\t\tPOINT\n"
    "17.750\tfilm.mp4\t60.0\t25.0\tanna\tgroom\tself\t\tSTOP\n"
    "18.000\tfilm.mp4\t60.0\t25.0\tben\tgroom\tself\t\tSTOP\n"
    "20.000\tfilm.mp4\t60.0\t25.0\tanna\tgroom\tself\t\tSTART\n"
    "21.000\tfilm.mp4\t60.0\t25.0\tben\tgroom\tself\t\tSTOP\n"
)
# As BORIS 8 and 9: all media of the observation in Source, and their durations.
COLUMNS = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),"
    "Media duration (s),FPS,weather,Subject,Behavior,Behavioral category,Modifier #1,Behavior type,Time,"
    "Media file name,Image index,Image file path,Comment"
)
HEAD = "o1,2024-05-01,,40,Media file(s),player #1:day/one.mp4;day/two.mp4|player #2:side.mp4,2.0,20.000;20.000|40.000"
ROWS = [
    HEAD + ",25.000;25.000|25.000,sun,anna,rest,,deep,START,5.000,one.mp4,75,NA,",
    HEAD + ",25.000;25.000|25.000,sun,anna,rest,,deep,STOP,7.500,one.mp4,137,NA,",
    HEAD + ",25.000;25.000|25.000,sun,anna,rest,,light,START,20.000,one.mp4,1,NA,",
    HEAD + ",25.000;25.000|25.000,sun,anna,rest,,light,STOP,27.000,two.mp4,1,NA,late",
    HEAD + ",25.000;25.000|25.000,sun,No focal subject,bite,,,POINT,32.000,two.mp4,1,NA,",
]
AGGREGATED = (
    "Observation id\tObservation date\tDescription\tObservation type\tSource\tTime offset (s)\tCoding duration\t"
    "Media duration (s)\tFPS (frame/s)\tSubject\tObservation duration by subject by observation\tBehavior\t"
    "Behavioral category\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\t"
    "Media file name\tComment start\tComment stop\n"
    "o1\t2024-05-01\t\tMedia file\tplayer #1:one.mp4\t0.0\t20.000\t20.000\t25.000\tanna\t9\trest\tNot defined\tSTATE"
    "\t1.000\t2.500\t1.500\tone.mp4\t\t\n"
    "o1\t2024-05-01\t\tMedia file\tplayer #1:one.mp4\t0.0\t20.000\t20.000\t25.000\tanna\t9\tbite\tNot defined\tPOINT"
    "\t4.000\t4.000\tNA\tone.mp4\t\t\n"
)
OLD_AGGREGATED = (
    "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s)\n"
    "o1,C:/films/one.mp4,20.0,25.0,anna,rest,STATE,1.0,2.5,1.5\n"
    "o2,one.mp4,40.0,25.0,anna,rest,STATE,1.0,2.5,1.5\n"
    "o2,two.mp4,40.0,25.0,anna,rest,STATE,21.0,22.5,1.5\n"
)


def test_starts_and_stops_of_older_tables_are_paired_by_subject(tmp_path):
    found = read(tmp_path / "t.tsv", OLD_TABULAR.format(offset="10.0"))
    assert said(found, "subject") == [
        ("film.mp4", 3.3, 7.75, "anna"),
        ("film.mp4", 4.0, 8.0, "ben"),
        ("film.mp4", 5.25, None, "anna"),
    ]
    assert {event.track for event in found.events} == {"anna", "anna, self", "ben, self"}
    assert found.events[0].labels == {
        "subject": "anna",
        "behavior": "groom",
        "behavioral category": "self",
        "comment": "",
    }
    (unpaired,) = found.lost.values()
    assert [line.split(": ", 1)[1] for line in unpaired] == [
        "'ben groom' stops at 21 s and has not started",
        "'anna groom' starts at 20 s and does not stop",
    ]


def test_times_of_several_media_count_through_them_and_states_are_split_at_the_border(tmp_path):
    found = read(tmp_path / "t.csv", "\n".join([COLUMNS, *ROWS]))
    assert found.lost == {}
    assert found.remarks[1] == "observation 'o1': segments are of player 1; the files of player 2 are left out"
    assert said(found, "modifier #1") == [
        ("day/one.mp4", 3.0, 5.5, "deep"),
        ("day/one.mp4", 18.0, 20.0, "light"),
        ("day/two.mp4", 0.0, 5.0, "light"),
        ("day/two.mp4", 10.0, None, ""),
    ]
    assert found.events[0].labels["weather"] == "sun"
    assert not {"fps", "source", "time"} & set(found.events[0].labels)


def test_a_table_that_was_saved_with_decimal_commas_says_the_same(tmp_path):
    lines = [re.sub(r"(?<!#)\b(\d+)\.(\d+)", r"\1,\2", line.replace(",", "\t")) for line in [COLUMNS, *ROWS]]
    found = read(tmp_path / "t.tsv", "\n".join(lines))
    assert found.lost == {}
    assert said(found, "behavior")[:2] == [("day/one.mp4", 3.0, 5.5, "rest"), ("day/one.mp4", 18.0, 20.0, "rest")]


def test_behaviors_of_two_categories_may_overlap(tmp_path):
    found = read(tmp_path / "t.tsv", AGGREGATED.replace("bite\tNot defined", "bite\tmouth"))
    assert [event.track for event in found.events] == ["anna, Not defined", "anna, mouth"]


def test_aggregated_events_are_states_and_points(tmp_path):
    found = read(tmp_path / "t.tsv", AGGREGATED)
    assert said(found, "behavior") == [("one.mp4", 1.0, 2.5, "rest"), ("one.mp4", 4.0, None, "bite")]


def test_older_tables_that_do_not_state_the_lengths_of_several_files_are_refused(tmp_path):
    found = read(tmp_path / "t.csv", OLD_AGGREGATED)
    assert said(found, "behavior") == [("C:/films/one.mp4", 1.0, 2.5, "rest")]
    assert found.events[0].total == 20
    (kind,) = found.lost
    assert "read the project file (.boris) instead" in kind
    assert found.lost[kind] == ["row 3", "row 4"]


def project(**changes: object) -> str:
    observation = {
        "type": "MEDIA",
        "date": "2024-05-01T10:00:00",
        "file": {"1": ["/home/me/one.mp4", "/home/me/two.mp4"], "2": []},
        "time offset": 0.0,
        "media_info": {"length": {"/home/me/one.mp4": 20.0, "/home/me/two.mp4": 20.0}, "fps": {}},
        "independent_variables": {"weather": "sun"},
        "events": [
            [1.0, "anna", "rest", "deep", "quiet"],
            [3.0, "", "bite", "", "", 90],
            [5.5, "anna", "rest", "deep", ""],
            [19.0, "anna", "rest", "", ""],
            [22.0, "anna", "rest", "", ""],
            [25.0, "anna", "rest", "", ""],
        ],
    }
    live = {"type": "LIVE", "file": [], "events": [[1.0, "", "bite", "", ""]]}
    types = {
        "0": {"type": "State event", "code": "rest", "category": "calm"},
        "1": {"type": "Point event with coding map", "code": "bite"},
    }
    whole = {
        "time_format": "hh:mm:ss",
        "observations": {"o1": observation | changes, "o2": live},
        "behaviors_conf": types,
    }
    return json.dumps(whole)


def test_projects_hold_states_points_and_observations_without_videos(tmp_path):
    found = read(tmp_path / "p.boris", project())
    assert said(found, "behavior") == [
        ("/home/me/one.mp4", 1.0, 5.5, "rest"),
        ("/home/me/one.mp4", 3.0, None, "bite"),
        ("/home/me/one.mp4", 19.0, 20.0, "rest"),
        ("/home/me/two.mp4", 0.0, 2.0, "rest"),
    ]
    labels = {"behavior": "rest", "subject": "anna", "behavioral category": "calm", "modifiers": "deep"}
    assert found.events[0].labels == {**labels, "comment": "quiet", "observation id": "o1", "weather": "sun"}
    assert found.lost == {
        "observations without a video": ["observation 'o2': LIVE, 1 events"],
        "states that start or stop only": ["observation 'o1', event 6: 'anna rest' starts at 25 s and does not stop"],
    }


def test_the_time_offset_is_taken_off_and_other_players_are_said(tmp_path):
    one = {"file": {"1": ["one.mp4"], "2": ["side.mp4"]}, "time offset": 10.0}
    events = [
        [11.0, "", "bite", "", ""],
        [9.0, "", "bite", "", ""],
        ["x", "", "bite", "", ""],
        [12, "", "jump", "", ""],
    ]
    found = read(tmp_path / "p.boris", project(**one, events=events))
    assert said(found, "behavior") == [("one.mp4", 1.0, None, "bite")]
    assert any("segments are of player 1" in remark for remark in found.remarks)
    assert found.lost["events at times that are in no file"] == [
        "observation 'o1', event 2: -1 s is before the video, at a time offset of 10 s"
    ]
    assert len(found.lost["events that cannot be used"]) == 2


def test_variables_of_observations_do_not_take_the_place_of_what_was_observed(tmp_path):
    found = read(tmp_path / "p.boris", project(independent_variables={"subject": "7", "Comment": "wet"}))
    labels = found.events[0].labels
    assert [labels[name] for name in ("subject", "comment", "variable subject", "variable Comment")] == [
        *("anna", "quiet", "7", "wet")
    ]
    table = "\n".join([COLUMNS.replace("weather", "time"), *ROWS])
    labels = read(tmp_path / "t.csv", table).events[0].labels
    assert (labels["variable time"], labels["behavior"]) == ("sun", "rest")


def test_lengths_that_a_project_lacks_are_not_guessed(tmp_path):
    found = read(tmp_path / "p.boris", project(media_info={}))
    assert found.events == []
    assert "the length of '/home/me/one.mp4' is not stated" in found.lost["events at times that are in no file"][0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not a project of BORIS"),
        ('{"a": 1}', "'observations'"),
        ("{" * 100_000, "not a project of BORIS"),
        (project(events="none"), "'events' is 'none', not a list"),
        (project(file={"1": "one.mp4"}), "not a list"),
    ],
)
def test_other_json_is_refused(tmp_path, content, problem):
    with pytest.raises(ManifestError, match=problem):
        read(tmp_path / "p.boris", content)


def test_a_table_of_somebody_with_such_columns_is_a_plain_table(tmp_path):
    found = read(tmp_path / "t.csv", "File,Start (s),Stop (s),Behavior\none.mp4,1,2,rest\n", "one.mp4")
    assert said(found, "Behavior") == [("one.mp4", 1.0, 2.0, "rest")]
    assert "a table separated by commas" in found.remarks[0]
