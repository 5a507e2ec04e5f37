"""Bytes in, bytes out: compression, encryption, meters."""
