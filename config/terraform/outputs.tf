output "credentials_command" {
  description = "Gives kubectl the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.orthostat.name} --location ${local.cluster_location} --project ${var.project}"
}

output "registry" {
  description = "REGISTRY of the images, in docker-bake.hcl, the Helm values and the pipelines' resources."
  value       = "${google_artifact_registry_repository.orthostat.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.orthostat.repository_id}"
}

output "pipelines_account" {
  description = "Annotation of the service account in config/kubernetes/gke."
  value       = google_service_account.pipelines.email
}

output "images_uri" {
  description = "Prefix of scenes, bundles, zones and samples in pipeline files."
  value       = "s3://${google_storage_bucket.images.name}"
}

output "results_uri" {
  description = "Prefix of a pipeline's output."
  value       = "s3://${google_storage_bucket.results.name}"
}

output "database_host" {
  description = "Private address of PostgreSQL, for Airflow's and the statistics' URLs."
  value       = google_sql_database_instance.orthostat.private_ip_address
}

output "gpu_slots" {
  description = "Slots of Airflow's pool `gpu`."
  value       = var.gpu_nodes
}

output "gpu_selector" {
  description = "node_selector of a pipeline's resources."
  value       = { "cloud.google.com/gke-accelerator" = var.gpu_type }
}
