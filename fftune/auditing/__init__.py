"""Audits: nets against bars, with intervals that hold whenever one stops, and a paper trail."""
