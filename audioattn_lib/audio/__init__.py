"""Sound in and out, and what models read of it: files, log-mel, augmentation, gain."""
