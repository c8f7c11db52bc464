"""Sweeps: search settings such as lambda, train and evaluate each trial, keep the Pareto front."""
