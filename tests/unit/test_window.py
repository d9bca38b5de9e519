"""Which acquisitions a run is about."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthostat.errors import ConfigurationError
from orthostat.pipelines.window import (
    Window,
    period_of,
    period_window,
    periods_in,
    resolve_window,
    window_of_days,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_days_of_the_form_include_the_last_day() -> None:
    window = resolve_window(date(2024, 1, 1), date(2024, 1, 31), (utc(2020, 1, 1), utc(2020, 1, 2)), 30)
    assert (window.start, window.end) == (utc(2024, 1, 1), utc(2024, 2, 1))
    assert utc(2024, 1, 31, 23, 59) in window
    assert utc(2024, 2, 1) not in window


def test_a_window_of_days_is_told_as_the_form_takes_it() -> None:
    assert str(window_of_days(date(2024, 1, 1), date(2024, 1, 31))) == "2024-01-01 to 2024-01-31"
    assert str(period_window("2024-02", "month")) == "2024-02-01 to 2024-02-29"
    nightly = resolve_window(None, None, (utc(2024, 3, 9, 2), utc(2024, 3, 10, 2)), 1)
    assert str(nightly) == "2024-03-09 02:00 to before 2024-03-10 02:00 UTC"
    assert str(Window(utc(2024, 3, 9, 2, 0, 1), utc(2024, 3, 10))) == (
        "2024-03-09 02:00:01 to before 2024-03-10 00:00 UTC"
    )


def test_nightly_run_looks_back_from_the_end_of_its_interval() -> None:
    window = resolve_window(None, None, (utc(2024, 3, 9), utc(2024, 3, 10)), 30)
    assert (window.start, window.end) == (utc(2024, 2, 9), utc(2024, 3, 10))


def test_look_back_shorter_than_the_interval_leaves_no_gap() -> None:
    window = resolve_window(None, None, (utc(2024, 1, 1), utc(2024, 2, 1)), 7)
    assert window.start == utc(2024, 1, 1)


def test_backfill_takes_its_interval_as_it_is() -> None:
    window = resolve_window(None, None, (utc(2024, 1, 1), utc(2024, 2, 1)), None)
    assert (window.start, window.end) == (utc(2024, 1, 1), utc(2024, 2, 1))


def test_backfill_of_a_schedule_at_two_takes_whole_days() -> None:
    window = resolve_window(None, None, (utc(2024, 1, 1, 2), utc(2024, 1, 2, 2)), None)
    assert (window.start, window.end) == (utc(2024, 1, 1), utc(2024, 1, 2))
    hourly = resolve_window(None, None, (utc(2024, 1, 1, 2), utc(2024, 1, 1, 3)), None)
    assert (hourly.start, hourly.end) == (utc(2024, 1, 1, 2), utc(2024, 1, 1, 3))


def test_an_interval_that_is_a_moment_is_none() -> None:
    """As of a pipeline without a schedule that is started with an empty form."""
    with pytest.raises(ConfigurationError, match="neither days nor a data interval"):
        resolve_window(None, None, (utc(2024, 1, 1, 2), utc(2024, 1, 1, 2)), None)
    with pytest.raises(ConfigurationError, match="from 2024-02-01 00:00 to 2024-01-01 00:00 UTC; its end"):
        Window(utc(2024, 2, 1), utc(2024, 1, 1))


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (None, None, "neither days nor a data interval; fill in both 'from' and 'to'"),
        (date(2024, 1, 1), None, "from is 2024-01-01, to is empty; fill in both"),
        (date(2024, 2, 1), date(2024, 1, 1), "before the first day 2024-02-01; swap them"),
    ],
)
def test_what_cannot_be_resolved_is_an_error(first: date | None, last: date | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolve_window(first, last, None, 30)


@pytest.mark.parametrize(
    ("length", "name", "start", "end"),
    [
        ("month", "2024-12", utc(2024, 12, 1), utc(2025, 1, 1)),
        ("month", "2024-02", utc(2024, 2, 1), utc(2024, 3, 1)),
        ("quarter", "2024-Q4", utc(2024, 10, 1), utc(2025, 1, 1)),
        ("quarter", "2024-Q1", utc(2024, 1, 1), utc(2024, 4, 1)),
        ("year", "2024", utc(2024, 1, 1), utc(2025, 1, 1)),
    ],
)
def test_period_and_its_window(length: str, name: str, start: datetime, end: datetime) -> None:
    window = period_window(name, length)  # type: ignore[arg-type]
    assert (window.start, window.end) == (start, end)
    assert period_of(start, length) == name  # type: ignore[arg-type]
    assert period_of(end - timedelta(seconds=1), length) == name  # type: ignore[arg-type]


def test_periods_of_a_window_that_cuts_months() -> None:
    window = window_of_days(date(2023, 12, 31), date(2024, 2, 1))
    assert periods_in(window, "month") == ["2023-12", "2024-01", "2024-02"]


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)))
def test_every_moment_lies_in_its_period(moment: datetime) -> None:
    for length in ("month", "quarter", "year"):
        assert moment.replace(tzinfo=UTC) in period_window(
            period_of(moment.replace(tzinfo=UTC), length), length
        )  # type: ignore[arg-type]
