"""The prediction service: one warm model behind an HTTP API."""
