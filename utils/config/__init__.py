"""Every setting of a run once, the command line that fills them, and what they imply and forbid."""
