"""Sound files, log-mel features and augmentation."""
