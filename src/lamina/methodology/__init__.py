"""How to go about it: baselines, training runs, diagnosis."""
