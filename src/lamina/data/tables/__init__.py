"""Tables: reading, what each column is, preparation fitted on the training rows, targets, splits."""
