"""The folder of a run: its files, who holds it, and what is said of it."""
