"""Attention: scores, maps and densities, expectations, pooling, and the record of what was attended to.

========================= ======================================================================
module                    holds
========================= ======================================================================
``scores``                scores of frames
``maps``                  softmax, sparsemax and alpha-entmax, from scores to weights
``thresholds``            the solver of alpha-entmax
``learned``               alpha-entmax that learns its alpha, one a head
``adasplash``             alpha-entmax on CUDA by the kernels of another package, on request
``losses``                their Fenchel-Young losses
``densities``             the beta-Gaussian family, the continuous counterpart
``expectations``          expectations of functions under these densities
``value_function``        frames as a function of time, by ridge regression
``value_variance``        how much that function varies under a density
``encoders``              from frames to location and variance of a density
``pooling``               attention modules, from ``(B, T, H)`` to ``(B, H)``
``variants``              the published mechanisms by name
``record``, ``export``    what was attended to, in seconds and hertz, and as files
========================= ======================================================================
"""
