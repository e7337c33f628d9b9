"""Train a baseline and a candidate, judge the candidate, and promote it if the verdict is pass."""

from pathlib import Path

from mlops_kit import Condition, Input, Pipeline, Step

validate_data = Step(
    "validate-data",
    notebook="validate_data.ipynb",
    parameters={"data": Input("data"), "rows": Input("rows"), "seed": Input("seed")},
    outputs={"dataset": Path},
)
train_baseline = Step(
    "train-baseline",
    notebook="train.ipynb",
    parameters={"dataset": validate_data.output("dataset"), "role": "baseline"},
    outputs={"version": str},
)
train_candidate = Step(
    "train-candidate",
    notebook="train.ipynb",
    parameters={
        "dataset": validate_data.output("dataset"),
        "role": "candidate",
        "defect": Input("candidate_defect"),
    },
    outputs={"version": str},
)
evaluate = Step(
    "evaluate",
    notebook="evaluate.ipynb",
    parameters={
        "dataset": validate_data.output("dataset"),
        "candidate": train_candidate.output("version"),
        "baseline": train_baseline.output("version"),
        "environment": Input("environment"),
    },
    outputs={"verdict": str, "evaluation": dict},
    cache=False,  # who is champion stands in Git, not in the parameters
)
promote = Step(
    "promote",
    notebook="promote.ipynb",
    parameters={
        "candidate": train_candidate.output("version"),
        "evaluation": evaluate.output("evaluation"),
        "notebooks": [
            step.output("notebook")
            for step in (validate_data, train_baseline, train_candidate, evaluate)
        ],
        "environment": Input("environment"),
        "execution": Input("execution"),
    },
    outputs={"revision": str, "changed": bool},
    when=Condition(evaluate.output("verdict"), equals="pass"),
    cache=False,  # it writes to Git
)

PIPELINE = Pipeline(
    "fraud-training",
    steps=(validate_data, train_baseline, train_candidate, evaluate, promote),
    inputs={
        "data": "generated",
        "rows": 120_000,
        "seed": 7,
        "candidate_defect": "none",
        "environment": "prod",
    },
    description="Train, judge and promote the model that finds fraudulent card transactions.",
)
