"""Objectives: what is minimised, and by which player."""
