"""Measures of maps, of latent spaces and of generated data, and the comparison of methods side by side."""
