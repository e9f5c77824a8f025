"""The browser application whole: models exported for it, what it shows before anything is computed, its scripts."""
