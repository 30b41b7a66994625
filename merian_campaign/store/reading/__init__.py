"""Rows out, over psycopg2 alone, so that a status starts fast."""
