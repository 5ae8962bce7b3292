"""The page of demo.py: what it keeps in memory, how it shows pictures, and a module for each of its tabs."""
