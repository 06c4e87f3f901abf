"""Feature store, batches, windows and waveforms."""
