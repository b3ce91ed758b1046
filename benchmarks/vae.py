"""Our VAE of a case that is timed: the settings that all our contestants have in common."""

from __future__ import annotations

from typing import Any

from latentmap import VAE, likelihoods


def vae_of(case: Any, **given: Any) -> VAE:
    """Return a VAE with the case's network and codes, for bytes, trained to the end of its schedule."""
    return VAE(
        case.latent,
        encoder=case.network,
        decoder=case.network,
        likelihood=likelihoods.Bernoulli(),
        neighbors=None,
        scaling="range",
        early_stopping=False,
        **given,
    )
