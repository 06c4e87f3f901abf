"""Parts that every chapter shares."""
