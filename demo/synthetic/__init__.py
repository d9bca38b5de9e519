"""A made-up world whose truth is known: zones, monthly land cover, scenes and a simulated sample."""
