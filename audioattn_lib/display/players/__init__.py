"""Pictures with sound and a playhead."""
