"""Roll out what a person promoted in the panel or with `mlops-kit promote`."""

from mlops_kit import Input, Pipeline, Step

watch_rollout = Step(
    "watch-rollout",
    notebook="watch_rollout.ipynb",
    parameters={
        "environment": Input("environment"),
        "traffic": Input("traffic"),
        "data": Input("data"),
        "seed": Input("seed"),
    },
    outputs={"outcome": str, "rollout": dict},
    cache=False,  # it writes to Git
)

PIPELINE = Pipeline(
    "fraud-rollout",
    steps=(watch_rollout,),
    inputs={"environment": "prod", "traffic": "simulated", "data": "generated", "seed": 8},
    description="Roll out what a person promoted, step by step, as the evidence allows.",
)
