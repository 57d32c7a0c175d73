"""Work as if torch had just been imported, whatever a notebook has set, and put it back."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def plain_torch():
    """While open: gradients on, single precision, new tensors on the CPU, no deterministic mode.

        @plain_torch()
        def train(...)

    A session's `torch.set_grad_enabled(False)`, default dtype or default device would else give other weights, or an
    error far from its cause.
    """
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    cpu = torch.device("cpu")
    # it takes time in every call of torch's, so that it is there only where it is needed
    device = nullcontext() if torch.get_default_device() == cpu else cpu
    try:
        with torch.inference_mode(False), torch.enable_grad(), device:
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
