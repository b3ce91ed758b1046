"""Models: posterior, prior, likelihood and networks, and the trace that they return."""
