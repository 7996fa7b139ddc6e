"""The fine-tuning stage: submits the dataset exactly once, follows the job to its end, and keeps both on record."""
