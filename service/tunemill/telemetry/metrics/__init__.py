"""Metrics: what they are, how they are read, and how they are pushed where nobody reads them."""
