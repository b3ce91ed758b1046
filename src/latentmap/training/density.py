"""Fitting a prior to the codes of a trained model (ex-post density estimation, Ghosh et al. 2020)."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.optim import AdamW

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.noise import drawing_from, generator_for
from latentmap.training.device import operations, threads_for
from latentmap.training.schedule import learning_rate_factor

STEPS, BATCH, RATE = 3000, 256, 3e-3
EVERY, PATIENCE = 100, 8
"""Steps between two looks at the held-out codes, and looks without a gain after which training ends."""


def fit_density(model: GenerativeAutoencoder, codes: Shaped[Tensor, "N L"], seed: int) -> None:
    """Fit the model's prior to codes, or to their indices, by maximum likelihood; nothing else of it changes.

    A prior that has a way of its own takes it. Others are trained by gradient, and keep the weights that gave the
    tenth of the codes that is held out its highest likelihood.
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
        best, state, idle = float("inf"), copy.deepcopy(own.state_dict()), 0
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
                    found = -prior.distribution(own.eval(), model.encode).log_prob(held_out).mean().item()
                idle += 1
                if found < best:
                    best, state, idle = found, copy.deepcopy(own.state_dict()), 0
                if idle == PATIENCE:
                    break
        own.load_state_dict(state)
        own.eval()
