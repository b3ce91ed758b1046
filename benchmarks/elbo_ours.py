"""One fit of the 784-400-20 VAE on MNIST: seconds of training and test -ELBO, as JSON.

python benchmarks/elbo_ours.py EPOCHS SEED eager|compiled
"""

import json
import sys
import warnings

from cases import CASES
from mnist import images
from vae import vae_of

from latentmap import exceptions

warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
epochs, seed, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
case = CASES["MLP 784-400-20"]
vae = vae_of(case, max_epochs=epochs, compile=how == "compiled", random_state=seed)
vae.fit(images("train"))
result = {"seconds": vae.fit_seconds_, "elbo": -vae.score(images("t10k"))}
print(json.dumps({"epochs": epochs, "seed": seed, "compile": how, **result}))
