"""Fewer passes than EM: L-BFGS on its steps, and steps on a surrogate from the sample."""
