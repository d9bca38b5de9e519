# What nodes may do: write logs and metrics, and pull our images.
resource "google_service_account" "nodes" {
  account_id   = "orthostat-nodes"
  display_name = "Nodes of Orthostat's cluster"

  depends_on = [google_project_service.needed]
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  location   = google_artifact_registry_repository.orthostat.location
  repository = google_artifact_registry_repository.orthostat.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}

# What pipelines may do, as pods and on Airflow's workers: read images, read and write results.
resource "google_service_account" "pipelines" {
  account_id   = "orthostat-pipelines"
  display_name = "Orthostat's pipelines"

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "images" {
  bucket = google_storage_bucket.images.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.pipelines.member
}

resource "google_storage_bucket_iam_member" "results" {
  bucket = google_storage_bucket.results.name
  role   = "roles/storage.objectUser"
  member = google_service_account.pipelines.member
}

# Cloud Storage takes S3 requests that are signed with an HMAC key. Workload identity gives tokens and no key, so
# it cannot sign them: this key, in a Kubernetes Secret, is how pods get to the buckets.
resource "google_storage_hmac_key" "pipelines" {
  service_account_email = google_service_account.pipelines.email
}

# For pods that call Google's own interfaces; the account's rights are the same.
resource "google_service_account_iam_member" "pods" {
  service_account_id = google_service_account.pipelines.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[orthostat/default]"

  depends_on = [google_container_cluster.orthostat]
}
