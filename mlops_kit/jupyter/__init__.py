"""What stands in a notebook or a browser: live views, forms, the launcher, the panel."""
