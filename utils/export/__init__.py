"""What a run gives to other programs: embeddings and images as arrays, curves and coordinates as tables."""
