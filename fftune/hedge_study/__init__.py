"""Hedge studies, the second kind of study: which Hedge Defense, for one trained model."""
