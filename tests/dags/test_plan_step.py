"""The window that Airflow's context gives, with the times as Airflow gives them."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pendulum
import pytest

from orthostat.errors import ConfigurationError

NOTHING = {"from": None, "to": None, "re_predict": False}


@pytest.mark.parametrize(
    ("run_type", "params", "start", "end"),
    [
        ("scheduled", NOTHING, datetime(2024, 2, 9, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)),
        ("backfill", NOTHING, datetime(2024, 3, 9, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)),
        (
            "manual",
            NOTHING | {"from": "2024-01-01", "to": "2024-01-31"},
            datetime(2024, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 1, tzinfo=UTC),
        ),
    ],
)
def test_window_of_each_kind_of_run(
    run_type: str, params: dict[str, object], start: datetime, end: datetime
) -> None:
    from orthostat_airflow.plan_step import run_window

    context = {
        "params": params,
        "dag_run": SimpleNamespace(run_type=run_type),
        "data_interval_start": pendulum.datetime(2024, 3, 9, tz="UTC"),
        "data_interval_end": pendulum.datetime(2024, 3, 10, tz="UTC"),
    }
    window = run_window(context, lookback_days=30)
    assert (window.start, window.end) == (start, end)


def test_a_run_by_hand_needs_both_days_and_no_others() -> None:
    """Of a scheduled pipeline it has an interval, of a date that nobody has thought about."""
    from orthostat_airflow.plan_step import require_known, run_window

    context = {
        "params": NOTHING,
        "dag_run": SimpleNamespace(run_type="manual"),
        "data_interval_start": pendulum.datetime(2024, 3, 9, tz="UTC"),
        "data_interval_end": pendulum.datetime(2024, 3, 10, tz="UTC"),
    }
    with pytest.raises(ConfigurationError, match="fill in both 'from' and 'to'"):
        run_window(context, lookback_days=30)
    require_known(None)
    require_known(NOTHING)
    with pytest.raises(ConfigurationError, match=r"is given \['start'\], the form has \['from', 'to'"):
        require_known({"start": "2024-01-01"})
