"""Closed forms on which Wu et al. 2021 explain Hedge Defense."""
