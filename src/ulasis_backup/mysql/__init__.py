"""Servers and their programs: connections, rights, schema, client programs, scratch servers."""
