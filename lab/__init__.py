"""What the scripts are made of: networks, their training, its record, and what they are compared with."""

import common  # first: it sets the environment that torch reads
