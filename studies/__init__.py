"""What is studied with the lab: the experiments with their hypotheses, trials and verdicts, and cats that are drawn."""

import common  # first: it sets the environment that torch reads
