"""Data that are computed: drawn from a rule, of any number, the same for the same seed."""
