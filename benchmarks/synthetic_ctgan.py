"""A table drawn by ctgan's TVAE: python benchmarks/synthetic_ctgan.py TRAIN.csv DRAWN.csv SEED DISCRETE_COLUMNS."""

import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from ctgan import TVAE

train = pd.read_csv(sys.argv[1], keep_default_na=False)
torch.manual_seed(int(sys.argv[3]))
np.random.seed(int(sys.argv[3]))
start = time.perf_counter()
model = TVAE()
model.fit(train, discrete_columns=json.loads(sys.argv[4]))
model.sample(len(train)).to_csv(sys.argv[2], index=False)
print(json.dumps({"seconds": time.perf_counter() - start}))
