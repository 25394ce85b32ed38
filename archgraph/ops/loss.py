"""Losses: what each compares an output with.

Targets, drawn where no data is given: `classes` (integers below the size of the channel axis),
`normal` (N(0, 1), like the output), `binary` (0 or 1 per element), `sign` (−1 or 1 per element),
`distribution` (probabilities along the channel axis), `counts` (nonnegative integers per element),
`labels` (class numbers in front, then −1). A loss of more than an output and one target has none
of these and is an op like any other.
"""

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument

__all__ = ["FAMILY"]

# L is one number, so "none" is not among them.
_REDUCTION = Argument("reduction", "str", "mean", choices=("mean", "sum"))
_KL_REDUCTION = Argument("reduction", "str", "mean", choices=("batchmean", "mean", "sum"))


def _loss(target: str | None, reduction: Argument = _REDUCTION) -> Facts:
    return Facts(arguments=(reduction,), loss=True, target=target)


FAMILY = Family(
    "loss",
    {
        **dict.fromkeys(("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"), _loss("classes")),
        **dict.fromkeys(("L1Loss", "MSELoss", "HuberLoss", "SmoothL1Loss"), _loss("normal")),
        **dict.fromkeys(
            ("BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"), _loss("binary")
        ),
        **dict.fromkeys(("HingeEmbeddingLoss", "SoftMarginLoss"), _loss("sign")),
        "KLDivLoss": _loss("distribution", _KL_REDUCTION),
        "PoissonNLLLoss": _loss("counts"),
        "MultiLabelMarginLoss": _loss("labels"),
        **dict.fromkeys(
            (
                "CTCLoss",
                "CosineEmbeddingLoss",
                "GaussianNLLLoss",
                "MarginRankingLoss",
                "TripletMarginLoss",
                "TripletMarginWithDistanceLoss",
            ),
            _loss(None),
        ),
        "LinearCrossEntropyLoss": Facts(
            inferred={"in_features": "last"},
            arguments=(_REDUCTION,),
            loss=True,
            target="classes",
            weight_layer=True,
            parameters=(("linear.weight", None), ("linear.bias", "bias")),
        ),
        # Returns (log-probabilities of the targets, loss), so it is a layer of two ports.
        "AdaptiveLogSoftmaxWithLoss": Facts(
            inferred={"in_features": "last:input_"},
            arguments=(Argument("cutoffs", "size", positive=True),),
            weight_layer=True,
            parameters=(
                ("head.weight", None),
                ("head.bias", "head_bias"),
                ("tail.{cutoffs}.0.weight", None),
                ("tail.{cutoffs}.1.weight", None),
            ),
            tuple_output=True,
        ),
    },
)
