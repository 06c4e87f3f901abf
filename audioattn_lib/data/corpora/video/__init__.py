"""Corpora of sounds of videos: AudioSet, VGG-Sound and EPIC-KITCHENS-100."""
