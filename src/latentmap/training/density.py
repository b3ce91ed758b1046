"""Ex-post density estimation: fitting a prior to the latent codes of a trained model (Ghosh et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.optim import AdamW

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.noise import drawing_from, generator_for
from latentmap.training.device import operations, threads_for
from latentmap.training.schedule import learning_rate_factor
from latentmap.training.state import copied_state

STEPS, BATCH, RATE = 3000, 256, 3e-3
EVERY, PATIENCE = 100, 8
"""Steps between two evaluations, and evaluations without improvement after which training ends."""


def fit_density(model: GenerativeAutoencoder, codes: Shaped[Tensor, "N L"], seed: int) -> None:
    """Fit the prior of a model to latent codes, or to their indices, by maximum likelihood.

    Priors with an estimator of their own use it. Others are trained by gradient, and keep the weights with the highest
    likelihood of a held-out tenth of the codes. Nothing else of the model changes.
    """
    prior, own = model.parts.prior, model.prior_state
    parameters = [*own.parameters()]
    with drawing_from(generator_for(seed, codes.device)), threads_for(operations(own, BATCH)):
        with torch.no_grad():
            if prior.prepare(own, codes, seed):
                return
        order = torch.randperm(len(codes), device=codes.device)
        held_out, train = codes[order[: len(codes) // 10 or None]], codes[order[len(codes) // 10 :]]
        optimizer = AdamW(parameters, RATE, weight_decay=0.0, fused=True)
        best, state, idle = float("inf"), copied_state(own.state_dict()), 0
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * learning_rate_factor(step / STEPS)
            batch = train[torch.randint(len(train), (min(BATCH, len(train)),), device=codes.device)]
            loss = -prior.distribution(own.train(), model.encode).log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward(inputs=parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
            optimizer.step()
            if step % EVERY == EVERY - 1:
                with torch.no_grad():
                    held_out_loss = -prior.distribution(own.eval(), model.encode).log_prob(held_out).mean().item()
                idle += 1
                if held_out_loss < best:
                    best, state, idle = held_out_loss, copied_state(own.state_dict()), 0
                if idle == PATIENCE:
                    break
        own.load_state_dict(state)
        own.eval()
