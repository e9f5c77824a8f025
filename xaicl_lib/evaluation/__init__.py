"""Methods measured on models, pair by pair: the loop, its store, its workers, and where numbers come from."""
