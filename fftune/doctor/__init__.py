"""Diagnosis of a model: gradient masking, and whether its evaluation can be trusted."""
