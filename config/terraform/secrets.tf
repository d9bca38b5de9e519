# Where whoever deploys reads them from, without a look into the state. Pods get theirs from Kubernetes Secrets.
locals {
  secrets = {
    "orthostat-s3-key-id"              = google_storage_hmac_key.pipelines.access_id
    "orthostat-s3-key"                 = google_storage_hmac_key.pipelines.secret
    "orthostat-password-owner"         = random_password.users["orthostat"].result
    "orthostat-password-airflow"       = random_password.users["airflow"].result
    "orthostat-password-worker"        = random_password.users["airflow_worker"].result
    "orthostat-password-statisticians" = random_password.users["statisticians"].result
  }
  secret_names = toset(keys(local.secrets))
}

resource "google_secret_manager_secret" "orthostat" {
  for_each = local.secret_names

  secret_id = each.key

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_version" "orthostat" {
  for_each = local.secret_names

  secret      = google_secret_manager_secret.orthostat[each.key].id
  secret_data = local.secrets[each.key]
}
