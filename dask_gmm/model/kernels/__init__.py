"""Compiled kernels of the E-step: rows and a mixture's coefficients in, statistics or predictions out."""
