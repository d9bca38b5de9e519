"""Estimation: areas and accuracies from a probability sample, with their standard errors."""
