"""The demo: two pipelines, one on real Landsat scenes, one on a synthetic world with known truth."""
