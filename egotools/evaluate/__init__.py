"""Protocols that methods share: kNN, splits, leakage, classification, reports."""
