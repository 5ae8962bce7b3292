"""What REPORT measures, each a command: python -m studies.NAME."""
