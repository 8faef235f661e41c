"""Evaluation: scores, usefulness, bias, reader studies and the report of a set."""
