"""Databases and caches: eggycore beside what others use, each in a process of its own, on real servers."""
