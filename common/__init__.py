"""What lies below the data: command line, errors, files, figures, sources and names.

Imported first: other packages read their environment when they are imported, soon after this one.
"""

import os
import sys
from pathlib import Path

# A thread that waits for another one would spin for milliseconds, on a busy machine in the other one's time:
# a step of training beside one busy process took 40 times as long. So it soon sleeps.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the same for numpy and scipy: 2**4 cycles, not 2**26

# Other packages read these when they are imported, soon after this module, and complain at length.
if "HOME" in os.environ and any(path.exists() and not path.is_dir() for path in (Path.home(), *Path.home().parents)):
    print(f"error: HOME is {os.environ['HOME']!r}, which is no folder; set it to one", file=sys.stderr)
    sys.exit(2)
for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
    if not os.environ.get(name, "0").isdecimal():
        print(f"{name} is {os.environ.pop(name)!r}, not whole seconds: it is ignored", file=sys.stderr)
