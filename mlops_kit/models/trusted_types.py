"""The types and functions that the kit vouches for, beyond scikit-learn's public estimators.

They are data and arithmetic: none opens a file, runs a program or calls what a file names. The
list is never widened by what a model says of itself.
"""

from __future__ import annotations

_KERNELS = (
    *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation"),
    *("Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum"),
    "WhiteKernel",
)
_SPLITTERS = (
    *("GroupKFold", "KFold", "LeaveOneOut", "RepeatedKFold", "RepeatedStratifiedKFold"),
    *("ShuffleSplit", "StratifiedGroupKFold", "StratifiedKFold", "StratifiedShuffleSplit"),
    "TimeSeriesSplit",
)
OBJECTS = frozenset(
    {
        "mlops_kit.models.booster_estimators.BoosterClassifier",
        "mlops_kit.models.booster_estimators.BoosterRegressor",
        "scipy.interpolate._bsplines.BSpline",  # its arrays are checked
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # checked
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
        *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS),
    }
)
# Types as values, as in a selector of columns; nothing is made of them.
TYPES = frozenset(
    {
        "builtins.bytes",
        "builtins.object",
        "numpy.floating",
        "numpy.generic",
        "numpy.integer",
        "numpy.number",
    }
)
_SELECTION = ("chi2", "f_classif", "f_oneway", "f_regression", "r_regression")
_INFORMATION = ("mutual_info_classif", "mutual_info_regression")
_CLASSIFICATION = (
    *("accuracy_score", "balanced_accuracy_score", "brier_score_loss", "cohen_kappa_score"),
    *("f1_score", "fbeta_score", "log_loss", "matthews_corrcoef", "precision_score"),
    "recall_score",
)
_RANKING = ("average_precision_score", "roc_auc_score")
_REGRESSION = (
    *("max_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_pinball_loss"),
    *("mean_squared_error", "median_absolute_error", "r2_score", "root_mean_squared_error"),
)
# Checks numbers before the trees of a histogram gradient boosting see them, with options set.
PARTIAL = "sklearn.utils.validation.check_array"
FUNCTIONS = frozenset(
    {
        PARTIAL,
        "numpy.mean",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in _SELECTION),
        *(f"sklearn.feature_selection._mutual_info.{name}" for name in _INFORMATION),
        *(f"sklearn.metrics._classification.{name}" for name in _CLASSIFICATION),
        *(f"sklearn.metrics._ranking.{name}" for name in _RANKING),
        *(f"sklearn.metrics._regression.{name}" for name in _REGRESSION),
    }
)
# By the kind of skops' node that may build them. Others call a type with what the file says.
_TREE = "sklearn.tree._tree.Tree"  # its arrays are checked
BUILT_BY = {
    "ConstructorFromReduceNode": frozenset({"datetime.timedelta", "datetime.timezone"}),
    "DictNode": frozenset({"sklearn.utils._bunch.Bunch"}),
    "DTypeNode": frozenset({"numpy.dtype"}),  # an empty array's, read without pickle
    "FunctionNode": FUNCTIONS,
    "ObjectNode": OBJECTS,
    "PartialNode": frozenset({"functools.partial"}),
    "SparseMatrixNode": frozenset(
        {
            "scipy.sparse._csc.csc_array",
            "scipy.sparse._csc.csc_matrix",
            "scipy.sparse._csr.csr_array",
            "scipy.sparse._csr.csr_matrix",
        }
    ),
    "TreeNode": frozenset({_TREE}),
    "TupleNode": frozenset(
        {
            "sklearn.gaussian_process.kernels.Hyperparameter",
            "sklearn.impute._iterative._ImputerTriplet",
        }
    ),
    "TypeNode": TYPES | {_TREE},
}
ALL = frozenset().union(*BUILT_BY.values())
_BRUTE = "Neighbours are found without such a tree by algorithm='brute'."
ADVICE = {
    "sklearn.neighbors._ball_tree.BallTree": _BRUTE,
    "sklearn.neighbors._ball_tree.BallTree64": _BRUTE,
    "sklearn.neighbors._kd_tree.KDTree": _BRUTE,
    "sklearn.neighbors._kd_tree.KDTree64": _BRUTE,
    "sklearn.cluster._bisect_k_means._BisectingTree": "KMeans does without such a tree.",
}
