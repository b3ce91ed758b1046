"""One recipe of ours on binarised MNIST: its results as arrays, its seconds and bounds as JSON.

python benchmarks/recipes_ours.py NAME SEED EPOCHS FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from mnist import binary, labels

from latentmap import VAE, exceptions, likelihoods, networks, priors, recipes
from latentmap.evaluation.evidence import evidence
from latentmap.model.posteriors import Quantizer

warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
name, seed, epochs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
network = networks.MLP((400,))
SETTINGS = {  # of those that do not keep their defaults
    "rae_sn": {"network": network},
    "dreg": {"k": 10},
    "ciwae": {"k": 10},
    "vq": {"pieces": 20},  # as pythae, which quantises every component by itself
}
parts = recipes.find(name)(**SETTINGS.get(name, {}))
shared = {
    "encoder": network,
    "decoder": network,
    "likelihood": likelihoods.Bernoulli(),  # a sigmoid follows the decoder, as in pythae
    "scaling": "none",
}
train, test = (binary(part).reshape(-1, 28, 28) for part in ("train", "t10k"))
y, y_test = (labels(part) if parts.get("condition") else None for part in ("train", "t10k"))
vae = VAE(20, **shared | parts, max_epochs=epochs, early_stopping=False, random_state=seed)
vae.fit(train, y)
result = {"seconds": vae.fit_seconds_, "settings": str(parts)}
if vae.has_score_:
    first = None if y_test is None else y_test[:1000]
    result |= {"elbo": vae.score(test, y_test), "evidence": vars(evidence(vae, test[:1000], 1000, y=first))}
arrays = {
    "codes_train": vae.transform(train, y),
    "codes_test": vae.transform(test, y_test),
    "reconstructions": vae.reconstruct(test, y_test),
    "samples": vae.sample(10000, random_state=seed, y=y_test),
}
try:
    prior = priors.Autoregressive() if isinstance(vae.variational_family, Quantizer) else priors.Mixture(10)
    if y is None:
        arrays["later_samples"] = vae.fit_prior(train, prior).sample(10000, random_state=seed)
except exceptions.PartError as error:
    result["no_later_samples"] = str(error)
np.savez(folder / "arrays.npz", **{key: value.reshape(len(value), -1) for key, value in arrays.items()})
print(json.dumps(result))
