"""The questions of the book, one file per chapter: functions that return tidy tables."""
