"""Numbers of runs side by side."""
