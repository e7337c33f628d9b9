"""Data becomes a judged, registered candidate."""
