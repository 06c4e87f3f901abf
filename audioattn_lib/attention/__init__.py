"""Attention: scores, maps and densities, expectations, pooling, and the record of what was attended to.

=========================== ==========================================================================
module                      holds
=========================== ==========================================================================
``scores``                  scores of frames
``maps``                    softmax, sparsemax and alpha-entmax, from scores to weights
``thresholds``              the solver of alpha-entmax
``learned``                 alpha-entmax that learns its alpha, one a head
``losses``                  their Fenchel-Young losses
``densities``               the beta-Gaussian family, the continuous counterpart
``elliptical``              the same family in several dimensions
``mixtures``                several of either at once
``density_losses``          their Fenchel-Young losses
``expectations``            expectations of Gaussian basis functions under these densities
``elliptical_expectations`` the same in several dimensions
``bases``                   powers, waves, any function; Gaussians in several dimensions
``basis_expectations``      expectations of them all
``value_function``          frames as a function of time, by ridge regression
``value_variance``          how much that function varies under a density
``value_surface``           the same of a plane of time and frequency, axis by axis
``clustering``              the EM algorithm that shares out weights among modes
``encoders``                from frames to location and variance of a density, or of its modes
``pooling``                 attention modules, from ``(B, T, H)`` to ``(B, H)``
``heads``                   several of them side by side, each over its own features
``multi_head_pooling``      heads with queries of their own, and attention to the heads
``time_frequency``          attention over a plane, from ``(B, T, F, C)`` to ``(B, C)``
``variants``                the published mechanisms by name
``dot_product``             attention by dot products, with softmax or alpha-entmax
``patterns``                which patch of a spectrogram may attend to which
``pattern_kernels``         attention under a pattern, on the pairs that it allows
``slots``                   slot attention: slots that compete for frames
``segments``                from saliency to parts of a clip, to listen to again
``regions``                 densities over time, and time and frequency, as records keep them
``record``, ``export``      what was attended to, in seconds and hertz, and as files
=========================== ==========================================================================
"""
