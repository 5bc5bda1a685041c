"""The report of a run: facts gathered into records, and one page made from them."""
