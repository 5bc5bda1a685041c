"""Greedy pre-training, fine-tuning and what they are compared with, on the sets of Larochelle et al. 2007."""
