"""One recipe of ours on binarised MNIST: what it makes of rows, as arrays, and its seconds and bounds as JSON.

python benchmarks/recipes_ours.py NAME SEED EPOCHS FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from mnist import binary

from latentmap import VAE, exceptions, likelihoods, networks, priors, recipes
from latentmap.evaluation.evidence import evidence

warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
name, seed, epochs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
network = networks.MLP((400,))
SETTINGS = {"rae_sn": {"network": network}, "dreg": {"k": 10}, "ciwae": {"k": 10}}  # the others are the defaults
parts = recipes.find(name)(**SETTINGS.get(name, {}))
points = "variational_family" in parts and not parts["variational_family"].has_density
shared = {
    "encoder": network,
    "decoder": network,
    "likelihood": likelihoods.Gaussian() if points else likelihoods.Bernoulli(),  # squared errors, as pythae's points
    "scaling": "none",
}
train, test = (binary(part).reshape(-1, 28, 28) for part in ("train", "t10k"))
vae = VAE(20, **shared | parts, max_epochs=epochs, early_stopping=False, random_state=seed)
vae.fit(train)
found = {"seconds": vae.fit_seconds_, "settings": str(parts)}
if vae._has_score:
    found |= {"elbo": vae.score(test), "evidence": vars(evidence(vae, test[:1000], 1000))}
arrays = {
    "codes_train": vae.transform(train),
    "codes_test": vae.transform(test),
    "reconstructions": vae.reconstruct(test),
    "samples": vae.sample(10000, random_state=seed),
}
try:
    arrays["later_samples"] = vae.fit_prior(train, priors.Mixture(10)).sample(10000, random_state=seed)
except exceptions.PartError as error:
    found["no_later_samples"] = str(error)
np.savez(folder / "arrays.npz", **{key: value.reshape(len(value), -1) for key, value in arrays.items()})
print(json.dumps(found))
