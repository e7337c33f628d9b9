"""A person sees and decides."""
