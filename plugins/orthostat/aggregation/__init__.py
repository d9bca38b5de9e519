"""Aggregation: predictions of one period onto one grid, then class areas per zone."""
