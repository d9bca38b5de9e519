"""The steps of a run that stand between the nouns: each reads what the one before left in S3."""
