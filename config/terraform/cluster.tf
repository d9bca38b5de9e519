locals {
  cluster_location = coalesce(var.cluster_location, var.region)
}

resource "google_container_cluster" "orthostat" {
  name                = "orthostat"
  location            = local.cluster_location
  network             = google_compute_network.orthostat.id
  subnetwork          = google_compute_subnetwork.nodes.id
  deletion_protection = var.deletion_protection
  # Without it NetworkPolicies are taken and not enforced.
  datapath_provider = "ADVANCED_DATAPATH"
  # Pools are resources of their own: a change of theirs must not replace the cluster.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    service_account = google_service_account.nodes.email
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = false
    master_ipv4_cidr_block  = "172.16.0.0/28"
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.admin_cidrs
      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  release_channel {
    channel = var.release_channel
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  lifecycle {
    # Describes the default pool, which is gone.
    ignore_changes = [node_config]
  }

  depends_on = [google_project_iam_member.nodes]
}

resource "google_container_node_pool" "cpu" {
  name     = "cpu"
  cluster  = google_container_cluster.orthostat.id
  location = local.cluster_location

  autoscaling {
    total_min_node_count = 1
    total_max_node_count = var.cpu_nodes
  }

  node_config {
    machine_type    = var.cpu_machine_type
    disk_type       = "pd-balanced"
    disk_size_gb    = 100
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    gcfs_config {
      enabled = true
    }
  }
}

resource "google_container_node_pool" "gpu" {
  name               = "gpu"
  cluster            = google_container_cluster.orthostat.id
  location           = local.cluster_location
  node_locations     = var.gpu_zones
  initial_node_count = 0

  # No node while no pod asks: a GPU costs by the second, not by the run.
  autoscaling {
    total_min_node_count = 0
    total_max_node_count = var.gpu_nodes
    location_policy      = "ANY"
  }

  node_config {
    machine_type    = var.gpu_machine_type
    spot            = var.gpu_spot
    disk_type       = "pd-balanced"
    disk_size_gb    = 100
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]

    guest_accelerator {
      type  = var.gpu_type
      count = 1

      gpu_driver_installation_config {
        gpu_driver_version = "DEFAULT"
      }
    }

    # Nothing but pods that ask for a GPU comes here, and only those that stand being taken back.
    taint {
      key    = "nvidia.com/gpu"
      value  = "present"
      effect = "NO_SCHEDULE"
    }

    dynamic "taint" {
      for_each = var.gpu_spot ? ["true"] : []
      content {
        key    = "cloud.google.com/gke-spot"
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    # A pod starts while its image, 3 to 7 GB, is still being read.
    gcfs_config {
      enabled = true
    }
  }
}
