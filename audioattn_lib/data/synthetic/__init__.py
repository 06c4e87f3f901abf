"""Sound that is computed: no download, the same on every machine, with the truth known."""
