"""Conversations as documents: out as JSON or Markdown, and in again from that JSON."""
