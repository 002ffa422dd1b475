"""The Ray edge: the only package that imports Ray. Its `scale` module does not."""
