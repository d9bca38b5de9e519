"""Which acquisitions a run is about, and which period a moment belongs to."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from orthostat.errors import ConfigurationError

PeriodLength = Literal["month", "quarter", "year"]
FREQUENCY: dict[PeriodLength, str] = {"month": "M", "quarter": "Q", "year": "A"}
"""SDMX CL_FREQ code of each length."""


_NAMES: dict[PeriodLength, str] = {
    "month": r"\d{4}-(0[1-9]|1[0-2])",
    "quarter": r"\d{4}-Q[1-4]",
    "year": r"\d{4}",
}


@dataclass(frozen=True)
class Window:
    """Acquisitions from `start` to before `end`. Raises ConfigurationError when there is nothing between."""

    start: datetime
    """UTC."""
    end: datetime
    """UTC, exclusive."""

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ConfigurationError(
                f"the window goes from {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC; "
                "its end must come after its start"
            )

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        """Whole days as a form takes them, the last one included; else the moments in UTC."""
        if self.start.time() == self.end.time() == time.min:
            return f"{self.start:%Y-%m-%d} to {self.end - timedelta(days=1):%Y-%m-%d}"
        return f"{_plain(self.start)} to before {_plain(self.end)} UTC"


def window_of_days(first: date, last: date) -> Window:
    """The days from `first` to `last`, both included: what a person types into a form."""
    if last < first:
        raise ConfigurationError(f"the last day {last} is before the first day {first}; swap them")
    return Window(_midnight(first), _midnight(last + timedelta(days=1)))


def resolve_window(
    first: date | None,
    last: date | None,
    interval: tuple[datetime, datetime] | None,
    lookback_days: int | None,
) -> Window:
    """The window of a run: the days of its form, else its data interval, which a run by hand has not.

    With `lookback_days` (a nightly run) the interval's end is kept and its start moved so far back, so that
    scenes that arrive late are found. Without it (a backfill) the interval is taken as it is; one of days or
    more is moved to midnight, or a schedule at 2:00 would leave out two hours at either end of a series.

    Raises ConfigurationError when neither is there, or only one of the two days is given.
    """
    if (first is None) != (last is None):
        raise ConfigurationError(f"from is {first or 'empty'}, to is {last or 'empty'}; fill in both")
    if first is not None and last is not None:
        return window_of_days(first, last)
    if interval is None or interval[0] == interval[1]:  # so Airflow calls a moment without a schedule
        raise ConfigurationError("the run has neither days nor a data interval; fill in both 'from' and 'to'")
    start, end = (moment.astimezone(UTC) for moment in interval)
    if lookback_days is not None:
        return Window(min(start, end - timedelta(days=lookback_days)), end)
    if end - start >= timedelta(days=1):
        start, end = _midnight(start.date()), _midnight(end.date())
    return Window(start, end)


def period_of(moment: datetime, length: PeriodLength) -> str:
    """Name of the period that `moment` (UTC) lies in: `2025-03`, `2025-Q1` or `2025`."""
    moment = moment.astimezone(UTC)
    if length == "year":
        return f"{moment:%Y}"
    if length == "quarter":
        return f"{moment:%Y}-Q{(moment.month + 2) // 3}"
    return f"{moment:%Y-%m}"


def is_period(name: str, length: PeriodLength) -> bool:
    """Whether `name` is that of a period of this length: a pipeline may have had another one before."""
    return re.fullmatch(_NAMES[length], name) is not None


def period_window(period: str, length: PeriodLength) -> Window:
    """First moment of the period and of the next: the inverse of `period_of`."""
    year = int(period[:4])
    if length == "year":
        return Window(_midnight(date(year, 1, 1)), _midnight(date(year + 1, 1, 1)))
    months = 3 if length == "quarter" else 1
    month = int(period[6:]) * 3 - 2 if length == "quarter" else int(period[5:])
    following = month + months
    end = date(year + (following > 12), (following - 1) % 12 + 1, 1)
    return Window(_midnight(date(year, month, 1)), _midnight(end))


def periods_in(window: Window, length: PeriodLength) -> list[str]:
    """Every period that the window touches, in order."""
    periods = []
    moment = window.start
    while moment < window.end:
        periods.append(period_of(moment, length))
        moment = period_window(periods[-1], length).end
    return periods


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _plain(moment: datetime) -> str:
    is_whole = moment.second == moment.microsecond == 0
    return moment.replace(tzinfo=None).isoformat(" ", "minutes" if is_whole else "auto")
