"""The Socket.IO chat server: connections, turns and feeds."""

__version__ = "0.1.0"
