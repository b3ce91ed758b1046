"""Embedding at scale: part files that several workers write, and a callable class for other engines."""
