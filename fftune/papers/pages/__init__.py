"""Tables and figures as text, pages, pictures and MLflow runs."""
