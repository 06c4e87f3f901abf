"""Tables of features and their file formats."""
