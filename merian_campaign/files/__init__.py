"""The door where files come in and go out: campaign files, BPS fragments, sites, rendered YAML.

Parses text into domain values and writes text atomically. It decides nothing.
"""
