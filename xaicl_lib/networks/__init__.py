"""Architectures: the small networks of the bundled models, and those that publishers trained."""
