"""Seconds of small jobs and rows a second of embedding and sampling, in one process, as JSON."""

import json
import time
import warnings

import numpy as np
from mnist import images
from sklearn.datasets import load_digits, load_iris

from latentmap import VAE

warnings.simplefilter("ignore")  # a short fit is diagnosed as one


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


iris, digits, train = load_iris().data, load_digits().images, images("train").reshape(-1, 28, 28)
first = VAE(2, random_state=0)
result = {"fit of iris, the first of a process": seconds(lambda: first.fit(iris))}
later = first.history_[-1]["seconds"] - first.history_[0]["seconds"]
result["fit of iris, the first of a process, but for later epochs"] = sum(result.values()) - later
result["fit of iris"] = seconds(lambda: VAE(2, random_state=0).fit(iris))
result["fit of digits"] = seconds(lambda: VAE(2, random_state=0).fit(digits))
vae = VAE(2, neighbors=None, max_epochs=1, random_state=0).fit(train[:5000])
test = images("t10k").reshape(-1, 28, 28)
vae.transform(test[:100])
result["transform of 10,000 MNIST rows"] = seconds(lambda: vae.transform(test))
result["transform, rows a second"] = len(train) / seconds(lambda: vae.transform(train))
result["sample, rows a second"] = 20_000 / seconds(lambda: vae.sample(20_000, random_state=0))
result["transform of one row"] = float(np.median([seconds(lambda: vae.transform(test[:1])) for _ in range(50)]))
print(json.dumps(result))
