"""Operators' commands, a file for each family; eventlog/cli.py joins them."""
