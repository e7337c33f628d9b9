"""Run the command line with `python -m mlops_kit`."""

from __future__ import annotations

from mlops_kit.cli.main import main

if __name__ == "__main__":
    main()
