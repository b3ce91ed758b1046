"""Fill a .csv by miceforest, the mean or commonest value of five data sets: HOLES.csv FILLED.csv SEED."""

import json
import sys

import miceforest
import pandas as pd

holes = pd.read_csv(sys.argv[1])
numbers = holes.select_dtypes("number").columns
texts = holes.columns.difference(numbers)
kernel = miceforest.ImputationKernel(
    holes.astype(dict.fromkeys(texts, "category")), num_datasets=5, random_state=int(sys.argv[3])
)
kernel.mice(iterations=5, num_threads=1)
sets = [kernel.complete_data(dataset=i) for i in range(5)]
filled = holes.copy()
for name in holes:
    values = pd.concat([each[name].astype(object) for each in sets], axis=1)
    filled[name] = values.astype(float).mean(axis=1) if name in numbers else values.mode(axis=1)[0]
filled.to_csv(sys.argv[2], index=False)
print(json.dumps({"rows": len(filled)}))
