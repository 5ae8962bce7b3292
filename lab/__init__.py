"""What the scripts are made of. Nothing here imports data.py or a script."""

import importlib.util
import multiprocessing
import os
import sys
import tempfile

if importlib.util.find_spec("tyro") is None:
    setup = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt -c constraints.txt"
    print(f"error: a package is not installed; run {setup}, then use .venv/bin/python", file=sys.stderr)
    sys.exit(2)
if sys.stderr.isatty() and multiprocessing.parent_process() is None:  # a person waits
    print("loading PyTorch: a few seconds", file=sys.stderr)
os.environ.setdefault("HOME", tempfile.gettempdir())  # some containers have none
# Other packages read these when they are imported, so a script imports a module of ours before torch.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep soon: spinning is slow on a busy machine
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the same for numpy and scipy: 2**4 cycles, not 2**26
os.environ["MPLBACKEND"] = "agg"  # figures go to files only
