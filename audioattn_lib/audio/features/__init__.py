"""Log-mel front ends: spectrograms in batch on any device, their scaling and inversion."""
