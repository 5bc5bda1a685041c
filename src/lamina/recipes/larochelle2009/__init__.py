"""What pre-training does for networks of one to four hidden layers, beside random starts and today's practice."""

from lamina.recipes.larochelle2009.table import recipe

__all__ = ["recipe"]
