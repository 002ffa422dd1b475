"""Predictors: model versions made callable."""
