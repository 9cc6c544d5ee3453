"""Migrations: versioned files that change a database's tables, each applied once.

Everything here but `prepare` and `locking` is a plain function of a connected `peewee.Database`, called in the thread
that owns the connection.
"""
