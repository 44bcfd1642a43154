"""Standardization, PCA and softmax regression."""
