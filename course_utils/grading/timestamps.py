"""When a hand-in came: nbgrader's timestamp.txt, as programs and people of many countries write it."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

from dateutil.parser import ParserError, parse
from dateutil.tz import gettz

from course_utils.grading.collect import Refused, read_bytes

FILE = "timestamp.txt"
MAX_BYTES = 400

# Hours from UTC. A name is here if all places of today's time zone database that use it agree, or if it is German.
ZONES = {
    "ACDT": 10.5, "ACST": 9.5, "ADT": -3, "AEDT": 11, "AEST": 10, "AKDT": -8, "AKST": -9, "AST": -4, "AWST": 8,
    "BST": 1, "CAT": 2, "CEST": 2, "CET": 1, "EAT": 3, "EDT": -4, "EEST": 3, "EET": 2, "EST": -5, "GMT": 0, "HKT": 8,
    "HST": -10, "IDT": 3, "JST": 9, "KST": 9, "MDT": -6, "MESZ": 2, "MEZ": 1, "MSK": 3, "MST": -7, "NDT": -2.5,
    "NST": -3.5, "NZDT": 13, "NZST": 12, "PDT": -7, "PKT": 5, "SAST": 2, "UTC": 0, "WAT": 1, "WEST": 1, "WET": 0,
    "WIB": 7, "WIT": 9, "WITA": 8, "Z": 0,
}  # fmt: skip
AMBIGUOUS = {
    "CDT": "America's Central or Cuba's time",
    "CST": "America's Central, China's or Cuba's time",
    "IST": "India's, Ireland's or Israel's time",
    "PST": "America's Pacific or the Philippines' time",
}


def hand_in_time(folder: Path) -> datetime | None:
    """The time in a hand-in's timestamp.txt, in UTC and without a zone, as nbgrader keeps it; None if there is none.

    ValueError, a sentence that names the file, if it cannot be told what time is meant.
    """
    path = folder / FILE
    if not path.is_symlink() and not path.exists():
        return None
    try:
        text = _decoded(read_bytes(path))
        return parse_time(text) if text else None
    except (Refused, ValueError) as error:
        raise ValueError(
            f"{path} does not tell when this was handed in ({error}), so it does not count as late: "
            "write the time as in 2026-11-01 22:59:00 +01:00, and grade again."
        ) from None


def time_text(time: datetime) -> str:
    """A time in UTC as nbgrader itself writes it."""
    return f"{time:%Y-%m-%d %H:%M:%S.%f} UTC"


def parse_time(text: str) -> datetime:
    """A time in UTC, without a zone. One that names no zone is UTC, as in nbgrader.

    ValueError if it can be read in no way, or in several: an hour is missing, a month may be the day, a zone's name is
    used in several countries.
    """
    region = re.search(r"[A-Za-z_]+(/[\w+-]+)+", text)
    plain = (text.replace(region[0], "TZ") if region else text).upper()
    plain = re.sub(r"\(.*\)|\b(GMT|UTC)(?=[+-]\d)", " ", plain)  # JavaScript: GMT+0100 (Central European Time)

    def zone(name: str | None, seconds: int | None) -> tzinfo | None:
        return _zone(region[0] if region and name == "TZ" else name, seconds)

    readings = set()
    # A year in front has the month behind it; else the day may be first. What is missing is taken from the default.
    for day_first in (False,) if re.match(r"\d{4}", plain) else (False, True):
        for default in (datetime(2000, 1, 1), datetime(2001, 2, 2, 2, 2)):
            try:
                read = parse(plain, default=default, dayfirst=day_first, tzinfos=zone)
                readings.add(read.astimezone(UTC).replace(tzinfo=None) if read.tzinfo else read)
            except (ParserError, OverflowError):
                raise ValueError(f"{text[:60]!r} is no date with a time") from None
    if len(readings) > 1:
        raise ValueError(f"{text[:60]!r} can be read in several ways")
    return readings.pop()


def _zone(name: str | None, seconds: int | None) -> tzinfo | None:
    """The zone of an offset from UTC in seconds, or of a name. ValueError if it is not known which one is meant."""
    if seconds is not None:
        return timezone(timedelta(seconds=seconds))
    if name is None:
        return None
    if name in AMBIGUOUS:
        raise ValueError(f"{name} may be {AMBIGUOUS[name]}")
    found = timezone(timedelta(hours=ZONES[name])) if name in ZONES else gettz(name) if "/" in name else None
    if found is None:
        raise ValueError(f"there is no time zone {name}")
    return found


def _decoded(data: bytes) -> str:
    """The text of a file that Windows' editor or PowerShell may have written, with a mark of its encoding in front."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data[:MAX_BYTES].decode(encoding, "replace").strip()
