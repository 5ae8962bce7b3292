"""What REPORT measures, each a command: python -m studies.NAME."""

import lab  # noqa: F401  # first: it sets the environment that torch reads
