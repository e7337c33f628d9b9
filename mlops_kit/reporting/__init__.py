"""Pictures, reports and notebooks that survive without a kernel."""
