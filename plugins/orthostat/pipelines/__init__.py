"""A pipeline: one YAML file that says what is counted, where, when and by which model."""
