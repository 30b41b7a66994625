"""The PostgreSQL server and the way to it: its life, connections, locks, rights, the schema's version."""
