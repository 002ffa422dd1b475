"""Datasets: sources, ingest checks, and immutable content-addressed versions. No torch, no ray."""
