"""Date fields in the address of an archive, such as `s3://bucket/scenes/{acquired:%Y/%m/%d}/`."""

import re
from collections.abc import Iterable
from datetime import date, timedelta

from orthostat.pipelines.window import Window

_FIELD = re.compile(r"\{([^{}]*)\}")
_DIGITS = {"%Y": r"\d{4}", "%m": r"\d\d", "%d": r"\d\d", "%j": r"\d{3}"}
"""What each directive becomes, so that one prefix is never the beginning of another."""
_EXAMPLE = "s3://bucket/scenes/{acquired:%Y/%m/%d}/"


def check_fields(uri: str) -> None:
    """Raises ValueError unless the fields of an address, if it has any, name a day, a month or a year."""
    for field in _FIELD.findall(uri):
        if not field.startswith("acquired:"):
            raise ValueError(f"has the field {{{field}}}; the only one is the date: write e.g. {_EXAMPLE}")
        unknown = set(re.findall(r"%.?", field)) - set(_DIGITS)
        if unknown:
            raise ValueError(
                f"has {', '.join(sorted(unknown))} in {{{field}}}; use %Y, %m, %d and %j, e.g. {_EXAMPLE}"
            )
    if re.search(r"[{}]", _FIELD.sub("", uri)):
        raise ValueError(f"has a brace that belongs to no field; write e.g. {_EXAMPLE}")
    used = set(re.findall(r"%.", "".join(_FIELD.findall(uri))))
    if "{" in uri and ("%Y" not in used or ("%d" in used and not used & {"%m", "%j"})):
        raise ValueError(
            f"has the dates {', '.join(sorted(used)) or 'none'}, which are no day (%Y %m %d, or %Y %j), "
            f"month (%Y %m) or year (%Y); write e.g. {_EXAMPLE}"
        )
    if "{" in uri and not re.match(r"(s3://[^/{]+)?/.*\{", uri):
        raise ValueError(f"has a date before its first folder; write e.g. {_EXAMPLE}")


def is_dated(uri: str) -> bool:
    """Whether an address has a date field."""
    return "{" in uri


def folder_of(uri: str) -> str:
    """What is the same on all days: the address up to the slash before its first date, or all of it."""
    return uri[: uri.rindex("/", 0, uri.index("{")) + 1] if is_dated(uri) else uri


def at_date(uri: str, day: date) -> str:
    """The prefix of what was acquired on a day (UTC)."""
    return _FIELD.sub(lambda field: f"{day:{field[1].removeprefix('acquired:')}}", uri)


def prefixes_of(uri: str, windows: Iterable[Window]) -> list[str]:
    """The prefixes that hold what was acquired in `windows`, each once; without a date field, the address."""
    days = (day for window in windows for day in _days(window))
    return list(dict.fromkeys(at_date(uri, day) for day in days)) if is_dated(uri) else [uri]


def fits(uri: str, key: str) -> bool:
    """Whether `key` lies below the address on some day."""
    shape = ""
    for number, text in enumerate(_FIELD.split(uri)):  # by turns what stands between fields, and a field
        escaped = re.escape(text.removeprefix("acquired:"))
        shape += re.sub("%.", lambda found: _DIGITS[found[0]], escaped) if number % 2 else re.escape(text)
    return re.match(shape, key) is not None


def _days(window: Window) -> Iterable[date]:
    day, last = window.start.date(), (window.end - timedelta(microseconds=1)).date()
    return (day + timedelta(days=number) for number in range((last - day).days + 1))
