"""Autoencoders, sparse coding, and features learnt without back-propagation."""

from lamina.autoencoders.arc_cosine_kernel import ArcCosine
from lamina.autoencoders.autoencoder import Autoencoder, autoencoder
from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Corruption, GaussianCorruption, Masking, SaltAndPepper
from lamina.autoencoders.deep import pretrain_rbms, unroll_rbms
from lamina.autoencoders.dictionary import learn_dictionary
from lamina.autoencoders.embedding import EmbeddingLayer, EmbeddingNetwork, SemiSupervisedEmbedding
from lamina.autoencoders.feature_selection import mutual_information, select_features
from lamina.autoencoders.kernel_pca import KernelPCA, stacked_kernel_pca
from lamina.autoencoders.kmeans_features import KMeansFeatures
from lamina.autoencoders.matching_pursuit import MatchingPursuitFeatures, orthogonal_matching_pursuit
from lamina.autoencoders.patches import random_patches
from lamina.autoencoders.pca import PCA
from lamina.autoencoders.random_convolution import FixedConvolution, random_kernels
from lamina.autoencoders.reconstruction import CodeContext, Reconstruction
from lamina.autoencoders.sparse import KSparse, SparseTarget
from lamina.autoencoders.sparse_coder import SparseCoder, SparseCoding
from lamina.autoencoders.sparsifying_logistic import SparsifyingLogistic
from lamina.autoencoders.stacked import unroll
from lamina.autoencoders.stacked_subspace_analysis import StackedSubspaceAnalysis
from lamina.autoencoders.subspace_analysis import SubspaceAnalysis
from lamina.autoencoders.transposed_convolution import transposed_convolution
from lamina.nn.tied_linear import TiedLinear

__all__ = [
    "PCA",
    "ArcCosine",
    "Autoencoder",
    "AutoencoderLayer",
    "CodeContext",
    "Corruption",
    "EmbeddingLayer",
    "EmbeddingNetwork",
    "FixedConvolution",
    "GaussianCorruption",
    "KMeansFeatures",
    "KSparse",
    "KernelPCA",
    "Masking",
    "MatchingPursuitFeatures",
    "Reconstruction",
    "SaltAndPepper",
    "SemiSupervisedEmbedding",
    "SparseCoder",
    "SparseCoding",
    "SparseTarget",
    "SparsifyingLogistic",
    "StackedSubspaceAnalysis",
    "SubspaceAnalysis",
    "TiedLinear",
    "autoencoder",
    "learn_dictionary",
    "mutual_information",
    "orthogonal_matching_pursuit",
    "pretrain_rbms",
    "random_kernels",
    "random_patches",
    "select_features",
    "stacked_kernel_pca",
    "transposed_convolution",
    "unroll",
    "unroll_rbms",
]
