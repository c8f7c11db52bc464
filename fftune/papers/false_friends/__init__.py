"""Tables and figures of Tao et al. 2022, and questions that they leave to others."""
