"""One thread for work in small pieces: two win little by sharing it, and beside other processes wait for each other.

On a busy machine a PCA took 8 times, a logistic regression 100 times as long on two threads as on one.
"""

import contextlib
from typing import Iterator

import torch
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch's operations within are not shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


one_blas_thread = threadpool_limits.wrap(limits=1, user_api="blas")  # a decorator: the same for NumPy's products
