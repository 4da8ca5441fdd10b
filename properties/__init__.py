"""Properties that decide whether an implementation computes what the specification says."""
