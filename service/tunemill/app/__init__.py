"""Wiring: how the parts are put together for each command. The only place that knows them all."""
