"""The folder of a run: its files, its lock, and what the program prints about it."""
