"""Means with intervals, paired tests and correlations: what numbers of a study bear out."""
