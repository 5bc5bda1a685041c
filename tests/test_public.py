"""The public names of the rooms, word for word: a name that appears or goes is a decision."""

import importlib

import pytest

NAMES = {
    "lamina.autoencoders": (
        "ArcCosine Autoencoder AutoencoderLayer CodeContext Corruption EmbeddingLayer EmbeddingNetwork "
        "FixedConvolution GaussianCorruption KMeansFeatures KSparse KernelPCA Masking "
        "MatchingPursuitFeatures PCA Reconstruction SaltAndPepper SemiSupervisedEmbedding SparseCoder "
        "SparseCoding SparseTarget SparsifyingLogistic StackedSubspaceAnalysis SubspaceAnalysis TiedLinear "
        "autoencoder learn_dictionary mutual_information orthogonal_matching_pursuit pretrain_rbms "
        "random_kernels random_patches select_features stacked_kernel_pca transposed_convolution unroll "
        "unroll_rbms"
    ),
    "lamina.curvature": (
        "AtParameters BatchLoss BlockDiagonal ContinuousCostates DiagonalLowRank Eigenpairs Iterate "
        "KroneckerFactors KroneckerInverse LayerCostates Solution conjugate_gradient continuous_costates "
        "curvature_blocks curvature_diagonal curvature_rows empirical_fisher_vector fisher_vector "
        "gauss_newton_vector hessian_vector hutchinson_diagonal jacobian_vector lanczos layer_costates "
        "loss_at low_rank_from_eigenpairs low_rank_from_gradients outputs_at vector_jacobian"
    ),
    "lamina.energy": (
        "Bernoulli BinaryDraws Binomial ContrastiveDivergence ContrastiveDivergenceStep DeepBeliefNetwork "
        "DeepBoltzmannMachine DeepBoltzmannPath DirectedLayers Gaussian Joined MeanFieldLearning RBM "
        "RBMLayer RBMPath Rectified SigmoidBeliefNetwork Softmax StochasticLayer Tempered Units UpDown "
        "VariationalBound WakeSleep all_states draw_binary parallel_tempering pretrain_deep_belief "
        "pretrain_deep_boltzmann pseudo_likelihood tied_machine variational_bound"
    ),
    "lamina.estimators": "BernoulliRBM DeepBeliefNetwork GaussianRBM NeuralClassifier NeuralRegressor",
    "lamina.likelihoods": (
        "Bernoulli Categorical FullGaussian Gaussian GaussianMixture Heads LIKELIHOODS Laplace Likelihood "
        "Poisson Power REFUSED Rejecting Strings StudentT for_scoring from_json kl_divergence likelihood_name "
        "margin_ranking pairwise_similarity sequence_log_prob to_json"
    ),
    "lamina.metrics": (
        "CalibrationBins CoverageCurve Interval McNemar bootstrap_interval calibration_bins coverage_curve "
        "expected_calibration_error interval_coverage interval_score interval_width mcnemar mean_interval "
        "paired_difference tangent_distance"
    ),
    "lamina.nn": (
        "ACTIVATIONS BatchNorm ColumnEmbedding Count Ensemble ExtremeLearningMachine Gate GaussianNoise "
        "Heaviside Highway HighwayRecurrent LayerCount LogisticDerivatives LowRankLinear MLP MaskDropout "
        "MaxPoolUnits Maxout MultiplicativeNoise NoisyReLU PNorm PNormPoolUnits POOLING_UNITS Perceptron "
        "PerceptronFit PixelScaling PolynomialBasis RBF Residual ResidualMLP ScaledSigmoid ScaledTanh "
        "SingleLayerPerceptron SkipConnections SoftMaxPoolUnits SoftMaxout SoftmaxSelector TableShape "
        "WeightNoise approximate approximate_plane average_shared_gradients boolean_network count "
        "data_driven_scale delta_rule elastic_net embedding_width ensemble_error geometric_mean_dropout "
        "gradient_spread insert_noise label_noise least_squares_classifier linear linear_regression "
        "logistic_derivatives logistic_regression monte_carlo_dropout parity_network perceptron_rule signed_targets "
        "weight_norm with_hints without_hints xor_network"
    ),
    "lamina.optim": (
        "AdaGrad Adam BoldDriver DeltaBarDelta ExtendedKalman HessianFree KFAC LBFGS LevenbergMarquardt "
        "LineSearchResult NesterovMomentum Newton NonlinearConjugateGradient OPTIMIZERS QuickProp "
        "RMSPropNesterov Schedule TONGA Trial TrustRegionNewton beginning by_name constant cosine "
        "cosine_restarts exponential inverse_time linear one_cycle project_norm_ proximal_step_ random_step_ "
        "read_optimizer recorded soft_threshold step_decay strong_wolfe sutskever_momentum warmed_up"
    ),
    "lamina.penalties": (
        "Adversarial ConditionalEntropy Context Contractive CurvatureSmoothing DoubleBackprop ElasticNet "
        "InformationFlow L1 L2 ManifoldTangentProp ManifoldTangents Penalty PerLayerDecay SparseRepresentation "
        "TangentProp Tying TyingTo VirtualAdversarial WeightElimination WeightedSum image_tangents information_flow"
    ),
    "lamina.samplers": ("AnnealingPath PartitionEstimate annealed_importance reverse_annealed_importance temperatures"),
    "lamina.vision": ("ConvNet SmallResNet small_resnet"),
}


@pytest.mark.parametrize("package", list(NAMES))
def test_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(NAMES[package].split())
    assert all(hasattr(module, name) for name in module.__all__)
