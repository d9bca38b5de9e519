# What Orthostat needs of a Google Cloud project: docs/gke.md says how it is applied. The state holds passwords
# and the key of the buckets, so its bucket is as secret as they are:
#   terraform init -backend-config=bucket=STATE_BUCKET
terraform {
  required_version = ">= 1.9"

  backend "gcs" {
    prefix = "orthostat"
  }

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
    "secretmanager.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false
}
