"""Statistics: the published table, its schema, its append-only releases and its exports."""
