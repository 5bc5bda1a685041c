"""Data: sources and readers, preparation fitted on the training part, mini-batches."""
