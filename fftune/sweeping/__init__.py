"""Studies: search settings such as lambda, run each trial, keep the non-dominated ones."""
