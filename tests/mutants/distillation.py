"""Mutants and right variants of unit 01."""
