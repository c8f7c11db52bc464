"""Tables and figures of Wu et al. 2021."""
