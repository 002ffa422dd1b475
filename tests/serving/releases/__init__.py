"""Releases: which version answers, what is compared, and when a candidate is stopped."""
