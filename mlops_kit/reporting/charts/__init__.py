"""A chart's values become pictures and figures."""
