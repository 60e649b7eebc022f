"""What a mixture is: parameters, sufficient statistics, E-step and M-step. Pure NumPy and SciPy."""
