"""Log lines: what they say, how they look, and how they get out without being in the way."""
