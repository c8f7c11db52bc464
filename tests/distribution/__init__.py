"""What users install: wheel and sdist, in clean environments of every Python that is promised."""
