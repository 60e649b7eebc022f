"""Compiled kernels of the E-step: rows and a mixture's coefficients in, statistics or predictions out.

Two classes are for use from outside, with the same methods (`kernel.Kernel`):

* `quadratic.QuadraticKernel`: all components at once, as two matrix products with quadratic features of a
  row. The fastest, while components are not far apart in units of their size.
* `centred.CentredKernel`: one component after the other, about its own mean. Accurate always, and the faster
  of the two for full covariances once d is about 12 times K or more.

`Covariance.kernel` makes a `prepared.Prepared` from `components.Components`.

Below them, each file needs only those after it: `kernel` (what both have in common), `tiles` (how many rows
at once, and how they get there), `products` and `softmax` (the mathematics of a tile), `registers` and
`vectors` (the innermost loops, for vector registers). `dask_gmm.compiled` says how they are compiled.
Nothing uses a BLAS: there is no thread pool to hold back, and none to change the last bit.
"""
