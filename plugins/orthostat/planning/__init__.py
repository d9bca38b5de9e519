"""Planning: scenes into batches, one warm pod each, written to S3 as manifests."""
