"""Evaluation: batteries of attacks on the blocks of a data set, as rows about single examples."""
