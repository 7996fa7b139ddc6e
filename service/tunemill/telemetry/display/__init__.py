"""The live display on a terminal, and the lines that stand in its place where there is none."""
