"""The parts of ``Augment``: what is drawn for each picture, and what each draw does to a batch of them."""

__all__: list[str] = []
