"""What a fit tells while it runs."""
