"""The notebooks in a real JupyterLab: what a person sees after Run All."""

from __future__ import annotations

import time
import pytest

pytestmark = pytest.mark.browser


def test_tour(lab):
    t = time.time()
    tour = lab.open("notebooks/tour.ipynb")
    print("open", time.time() - t)
    tour.run()
    print("ran", time.time() - t)
    tour.screenshot("tour")
    print(tour.errors, tour.streams, lab.complaints)
    import shutil
    shutil.rmtree("/tmp/h_project", ignore_errors=True)
    shutil.copytree(lab.project, "/tmp/h_project")


def test_train(lab):
    n = lab.open("notebooks/train.ipynb")
    n.run()
    n.screenshot("train")
    print(n.errors, n.streams, lab.complaints)


def test_evaluate(lab):
    p = next(lab.project.glob(".mlops-kit/executions/*/evaluate/*.ipynb"))
    print(p)
    n = lab.open(str(p.relative_to(lab.project)))
    n.page.wait_for_timeout(3000)
    n.screenshot("evaluate")
    print(n.errors, n.streams, lab.complaints)
