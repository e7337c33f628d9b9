"""Charts, reports and notebooks that need no kernel."""
