"""Engines: what computes a model's graphs, one a file, behind one protocol."""
