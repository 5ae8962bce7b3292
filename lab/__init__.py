"""What the scripts are made of. Nothing here imports data.py or a script."""

import os

# Other packages read these when they are imported, so a script imports a module of ours before torch.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep soon: spinning is slow on a busy machine
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the same for numpy and scipy: 2**4 cycles, not 2**26
os.environ["MPLBACKEND"] = "agg"  # figures go to files only
