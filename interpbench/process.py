"""Settings of this process that make tiny models fast. Called by what computes, never at import."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune_process(threads: int = 1) -> None:
    """Set PyTorch and the allocator up for models of a few thousand weights.

    One thread: two spin longer in their barriers than they compute. Denormals (saturated attention makes many) count
    as zero. And glibc keeps freed memory instead of giving it back, without which page faults cost as much time as
    the arithmetic; other C libraries are left alone.
    """
    keep = getattr(ctypes.CDLL(None), "mallopt", None)
    if keep is not None:
        keep(M_MMAP_THRESHOLD, 1 << 30)
        keep(M_TRIM_THRESHOLD, (1 << 31) - 1)

    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
