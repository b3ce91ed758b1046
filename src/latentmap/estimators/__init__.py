"""Estimators: scikit-learn's contract in front of the models."""
