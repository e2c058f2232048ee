"""The package's version; the module compares it with its own when an interpreter starts."""

version = "4.0.0"
