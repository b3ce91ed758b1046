"""Transfers of rows to a device: how many fit there, and blocks that are sent while others are in use."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

DEVICE_FRACTION = 0.5
"""Fraction of the free memory of a device that rows may take there."""


def fits_device(needed: float, free: float) -> bool:
    """Return whether rows of so many bytes are kept on a device with so many free bytes.

    >>> fits_device(needed=3e9, free=8e9), fits_device(needed=5e9, free=8e9)
    (True, False)
    """
    return needed <= DEVICE_FRACTION * free


def free_bytes(device: torch.device) -> float:
    """Return the free bytes of a GPU; infinity for other devices, whose memory holds the rows already."""
    if device.type != "cuda":
        return float("inf")
    gc.collect()  # trainers of earlier fits hold on to themselves
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def sent(block: Tensor, device: torch.device) -> Tensor:
    """Transfer rows to a device, to a GPU without waiting."""
    return block.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else block.to(device)


def ahead(blocks: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield blocks on a device while the next ones are transferred; each is valid until the next one is taken.

    >>> [block.tolist() for block in ahead(torch.arange(6).view(3, 2, 1), torch.device("cpu"))]
    [[[0], [1]], [[2], [3]], [[4], [5]]]
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    buffers = PinnedBuffer(device, stream), PinnedBuffer(device, stream)
    filled: PinnedBuffer | None = None
    try:
        for buffer, block in zip(itertools.cycle(buffers), blocks, strict=False):
            buffer.send(block)
            if filled is not None:
                yield filled.receive()
            filled = buffer
        if filled is not None:
            yield filled.receive()
    finally:
        for buffer in buffers:
            buffer.wait()  # memory that is being written to must not be freed


class PinnedBuffer:
    """Buffers of a transfer: pinned memory of the host, which a GPU reads asynchronously, and memory of the device."""

    def __init__(self, device: torch.device, stream: torch.cuda.Stream | None) -> None:
        self.device = device
        self.stream = stream
        self.copied = None if stream is None else torch.cuda.Event()
        self.host = self.target = torch.empty(0)
        self.rows = 0

    def send(self, block: Tensor) -> None:
        """Start the transfer of rows, after all work that is queued on the device."""
        self.wait()
        if len(self.host) < len(block):
            self.host = torch.empty_like(block, pin_memory=self.stream is not None)
            self.target = torch.empty_like(block, device=self.device)
        self.rows = len(block)
        self.host[: self.rows].copy_(block)
        if self.stream is None or self.copied is None:
            self.target.copy_(self.host)
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.device))  # which may still read the target
        with torch.cuda.stream(self.stream):
            self.target.copy_(self.host, non_blocking=True)
            self.copied.record()

    def receive(self) -> Tensor:
        """Return the rows; the device, not the host, waits for them."""
        if self.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(self.copied)
        return self.target[: self.rows]

    def wait(self) -> None:
        """Let the host wait for the end of the transfer."""
        if self.copied is not None:
            self.copied.synchronize()
