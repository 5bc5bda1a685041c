"""Autoencoders and sparse coding."""

from lamina.autoencoders.matching_pursuit import MatchingPursuitFeatures, orthogonal_matching_pursuit

__all__ = ["MatchingPursuitFeatures", "orthogonal_matching_pursuit"]
