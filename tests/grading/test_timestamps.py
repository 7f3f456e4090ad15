"""When a hand-in came: times as they are written in many countries, and as nobody can read them."""

import zoneinfo
from collections import defaultdict
from datetime import datetime, timedelta

import pytest

from course_utils.grading.timestamps import AMBIGUOUS, ZONES, hand_in_time, parse_time, time_text

TEN_TO_ELEVEN = datetime(2026, 11, 1, 22, 50)  # p.m., and UTC


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2026-11-01 22:50", 0),
        ("2026-11-01T22:50:00Z", 0),
        ("2026-11-01 22:50:00.000000 UTC", 0),
        ("2026-11-01 22:50:00 CEST", 2),
        ("2026-11-01 22:50:00 cet", 1),
        ("2026-11-01 22:50 EST", -5),
        ("2026-11-01 22:50:00 PDT", -7),
        ("2026-11-01 22:50:00 +0100", 1),  # nbgrader takes this for 100 seconds
        ("2026-11-01T22:50:00-03:30", -3.5),
        ("2026-11-01 22:50:00 Europe/Zurich", 1),
        ("2026-11-01 22:50 America/Argentina/Buenos_Aires", -3),
        ("2026-11-01 22:50 Etc/GMT+5", -5),
        ("20261101T225000Z", 0),
        ("Sun Nov  1 22:50:00 CET 2026", 1),
        ("Sun, 01 Nov 2026 22:50:00 +0100", 1),
        ("Sun Nov 01 2026 22:50:00 GMT-0800 (Pacific Standard Time)", -8),
        ("Sunday, November 1, 2026 10:50:00 PM", 0),
        ("1. November 2026 22:50 MEZ", 1),
    ],
)
def test_times_of_the_world(text, hours):
    assert parse_time(text) == TEN_TO_ELEVEN - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-01 22:50:00 CST", "CST may be America's Central, China's or Cuba's time"),
        ("2026-11-01 22:50:00 XYZ", "there is no time zone XYZ"),
        ("2026-11-01 22:50:00 Middle/Earth", "there is no time zone Middle/Earth"),
        ("2026-11-01", "several ways"),
        ("22:50", "several ways"),
        ("01.11.2026 22:50", "several ways"),
        ("2026-02-31 22:50", "no date with a time"),
        ("soon", "no date with a time"),
        ("1793573400", "no date with a time"),
        ("9" * 30 + " 22:50", "no date with a time"),
    ],
)
def test_what_tells_no_time_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_time(text)


def test_names_of_zones_are_those_that_today_mean_one_time():
    offsets = defaultdict(set)
    for name in zoneinfo.available_timezones():
        zone = zoneinfo.ZoneInfo(name)
        for month in range(1, 13):
            time = datetime(2026, month, 15, tzinfo=zone)
            offsets[time.tzname()].add(time.utcoffset() / timedelta(hours=1))
    if not offsets:
        pytest.skip("this machine has no time zones")
    german = {"MEZ", "MESZ", "Z"}
    assert {name: offsets[name] for name in ZONES.keys() - german} == {n: {ZONES[n]} for n in ZONES.keys() - german}
    assert set(AMBIGUOUS) == {name for name, found in offsets.items() if len(found) > 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_files_of_windows_are_read(encoding, tmp_path):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "timestamp.txt").write_text(f"{mark}\r\n2026-11-01 22:50:00 UTC\r\n\r\n", encoding=encoding)
    assert hand_in_time(tmp_path) == TEN_TO_ELEVEN
    (tmp_path / "timestamp.txt").write_text(time_text(TEN_TO_ELEVEN))
    assert hand_in_time(tmp_path) == TEN_TO_ELEVEN


@pytest.mark.parametrize("content", [b"soon", b"\xff\xfe\x00", b"\x00" * 10**6, b"1. M\xe4rz 2026 22:50", None])
def test_a_file_that_tells_no_time_is_named(content, tmp_path):
    path = tmp_path / "timestamp.txt"
    if content is None:
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="does not tell when this was handed in") as error:
        hand_in_time(tmp_path)
    assert str(path) in str(error.value) and len(str(error.value)) < 600 and "\0" not in str(error.value)


def test_no_file_is_no_fault(tmp_path):
    assert hand_in_time(tmp_path) is None
    (tmp_path / "timestamp.txt").write_text(" \n")
    assert hand_in_time(tmp_path) is None
