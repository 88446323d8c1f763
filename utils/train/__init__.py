"""What a training step is made of: batches, Adam, several processes, compiling."""
