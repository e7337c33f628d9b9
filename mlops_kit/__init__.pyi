# The public names that notebooks and pipelines import. `__init__.py` reads this list.
from mlops_kit.examples import customers as customers
from mlops_kit.examples.fraud import data as data
from mlops_kit.jupyter.compare import compare as compare
from mlops_kit.jupyter.forms import form as form
from mlops_kit.jupyter.panel.panel import PromotionPanel as PromotionPanel
from mlops_kit.jupyter.pipeline_run import follow as follow
from mlops_kit.jupyter.pipeline_run import run as run
from mlops_kit.jupyter.rollout_watch import watch as watch
from mlops_kit.models import evaluation as evaluation
from mlops_kit.models import training as training
from mlops_kit.pipelines.definition import Condition as Condition
from mlops_kit.pipelines.definition import Input as Input
from mlops_kit.pipelines.definition import Pipeline as Pipeline
from mlops_kit.pipelines.definition import Step as Step
from mlops_kit.pipelines.values import publish as publish
from mlops_kit.project import candidates as candidates
from mlops_kit.project.labels import label as label
from mlops_kit.project.releases import promote as promote
from mlops_kit.project.releases import proposed as proposed_change
from mlops_kit.project.releases import status as release_status
from mlops_kit.project.workspace import Workspace as Workspace
from mlops_kit.reporting import reports as reports
from mlops_kit.reporting.charts import charts as charts
from mlops_kit.reporting.charts import curves as curves
from mlops_kit.reporting.charts import plotly_figures as figures
from mlops_kit.tables import datasets as datasets
from mlops_kit.tables.schema import declare_table as declare_table
from mlops_kit.tables.slicers import bins as bins
from mlops_kit.tables.table import Table as Table

__version__: str
