"""The only package that imports openai. Everything foreign is turned into tunemill's own values here."""
