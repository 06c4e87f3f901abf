"""Records of attention in seconds and hertz."""
