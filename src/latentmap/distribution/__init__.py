"""Fits on several processes, on one machine or many, by PyTorch's own launcher and collective operations.

>>> from latentmap.distribution import joined
>>> with joined() as processes:  # of torchrun; without it, this process alone
...     processes.world_size
1
"""

from latentmap.distribution.join import joined

__all__ = ["joined"]
