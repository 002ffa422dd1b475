"""The Open Inference Protocol, version 2, beside our own: what stock clients of others speak."""
