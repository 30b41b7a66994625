"""Quanta and attempts in: staged, merged by their keys, and what memory they used."""
