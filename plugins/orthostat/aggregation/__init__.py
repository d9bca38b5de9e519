"""Aggregation: predictions of one period onto one grid, then class areas and objects per zone."""
