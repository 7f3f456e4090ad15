"""Deep Learning on a Budget: the reference of every algorithm once, and the thin machinery of the course around it."""

__version__ = "0.1.0"
