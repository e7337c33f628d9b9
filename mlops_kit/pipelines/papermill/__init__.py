"""Run notebooks with papermill; no other package imports it."""
