"""Attention: maps, densities, expectations, poolings, patterns, and the record of what was attended to.

================ ==================================================================================
package          holds
================ ==================================================================================
``maps``         softmax, sparsemax and alpha-entmax, from scores to weights; learned alpha; their losses
``densities``    the beta-Gaussian family in one and several dimensions, mixtures, their losses
``expectations`` expectations of basis functions under densities; values as a function of time
``pooling``      attention modules, from ``(B, T, H)`` to ``(B, H)``: scores, encoders, heads, slots
``patterns``     patches of a spectrogram that may attend to each other, and the kernels for them
``record``       attention in seconds and hertz, and its files
================ ==================================================================================
"""
