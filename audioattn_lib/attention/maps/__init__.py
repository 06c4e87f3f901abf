"""Maps from scores to weights: softmax, sparsemax and alpha-entmax."""
