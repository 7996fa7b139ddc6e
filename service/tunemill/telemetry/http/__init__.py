"""The run's HTTP address: where it listens, who may see what, and the page."""
