"""Play it back: iterative attention over segments at finer hops."""
