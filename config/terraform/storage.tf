resource "google_storage_bucket" "images" {
  name                        = var.images_bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.old_versions_days
    }
  }
}

# Current objects are never deleted by age: predictions are the ledger of what is predicted.
resource "google_storage_bucket" "results" {
  name                        = var.results_bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.old_versions_days
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
}

resource "google_artifact_registry_repository" "orthostat" {
  repository_id = "orthostat"
  location      = var.region
  format        = "DOCKER"

  docker_config {
    # A tag that moved would make a rollback something else.
    immutable_tags = true
  }

  depends_on = [google_project_service.needed]
}
