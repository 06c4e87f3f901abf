"""Networks that listen again to a part of the sound."""
