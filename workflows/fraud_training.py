"""Train and judge a candidate, promote it if the verdict is pass, and watch its rollout."""

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
        "promotion": Input("promotion"),
        "force_gate": Input("force_gate"),
    },
    outputs={"verdict": str, "decision": str, "evaluation": dict},
    cache=False,  # it reads the champion from Git, which no parameter names
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
        "force_gate": Input("force_gate"),
        "override": Input("override"),
    },
    outputs={"revision": str, "changed": bool},
    when=Condition(evaluate.output("decision"), equals="promote"),
    cache=False,  # it writes to Git
)
watch_rollout = Step(
    "watch-rollout",
    notebook="watch_rollout.ipynb",
    parameters={
        "revision": promote.output("revision"),
        "environment": Input("environment"),
        "traffic": Input("traffic"),
        "data": Input("data"),
        "seed": Input("seed"),
    },
    outputs={"outcome": str, "rollout": dict},
    cache=False,  # it writes to Git
)

PIPELINE = Pipeline(
    "fraud-training",
    steps=(validate_data, train_baseline, train_candidate, evaluate, promote, watch_rollout),
    inputs={
        "data": "generated",
        "rows": 120_000,
        "seed": 7,
        "candidate_defect": "none",
        "environment": "prod",
        "promotion": "automatic",
        "force_gate": False,
        "override": "",
        "traffic": "simulated",
    },
    description="Train, judge, promote and roll out a model that detects fraudulent transactions.",
)
