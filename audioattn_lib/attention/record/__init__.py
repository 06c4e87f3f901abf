"""Record of what was attended to, in seconds and hertz."""
