"""What tunemill does on this machine, beside its limits and beside others: `python -m bench --help`."""
