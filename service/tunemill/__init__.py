"""tunemill: from a recipe to a fine-tuned model, by way of thousands of completions that nobody pays for twice."""

__version__ = "0.1.0"
