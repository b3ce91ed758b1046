"""What a CUDA graph does, on the CPU: the operations of a step are recorded, and replayed on the same memory without
the Python that called them."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "multinomial", "lift_fresh", "_linalg_check_errors"}
"""Operations in which a GPU and its host wait for each other: numbers that are read, shapes that hang on values,
checks, and constants that are sent."""


class Watch(TorchDispatchMode):
    """Notes the operations that wait."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if name in WAITING or (name == "normal" and "Tensor" in function._overloadname):  # which checks deviations
            self.waiting.append(name)
        return function(*args, **(kwargs or {}))


class Tape(TorchDispatchMode):
    """A recorder for `Captured` whose replays are operations alone: what Python does in a step is done but once."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def rehearse(self, step):
        with Watch() as watch:
            step()
        return f"they wait in {watch.waiting[0]}" if watch.waiting else None

    def record(self, step):
        with self:
            step()  # which is taken as it is recorded, and so is not to be replayed the first time
        replays = iter([lambda: None])
        return lambda: next(replays, self.replay)()

    def replay(self):
        with torch.no_grad():
            for function, args, kwargs, places in self.calls:
                for place, found in zip(places, tensors(function(*args, **kwargs)), strict=True):
                    if place is not None:
                        place.copy_(found)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        given = {storage(tensor) for tensor in tensors((args, kwargs))}
        kept = [storage(tensor) in given or tensor._is_zerotensor() for tensor in tensors(results)]  # views, for one
        places = [None if keep else tensor for tensor, keep in zip(tensors(results), kept, strict=True)]
        self.calls.append((function, args, kwargs or {}, places))
        return results


def tensors(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def storage(tensor):
    return tensor.untyped_storage()._cdata
