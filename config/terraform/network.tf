resource "google_compute_network" "orthostat" {
  name                    = "orthostat"
  auto_create_subnetworks = false

  depends_on = [google_project_service.needed]
}

resource "google_compute_subnetwork" "nodes" {
  name          = "orthostat-nodes"
  network       = google_compute_network.orthostat.id
  ip_cidr_range = "10.0.0.0/20"
  # Private nodes reach Cloud Storage and Artifact Registry through it, without paying for NAT.
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = "10.16.0.0/14"
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = "10.32.0.0/20"
  }
}

# For what is not Google's: images in other clouds, public registries.
resource "google_compute_router" "orthostat" {
  name    = "orthostat"
  network = google_compute_network.orthostat.id
}

resource "google_compute_router_nat" "orthostat" {
  name                               = "orthostat"
  router                             = google_compute_router.orthostat.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

# Cloud SQL lives in a network of Google's that is joined to ours.
resource "google_compute_global_address" "services" {
  name          = "orthostat-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.orthostat.id
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.orthostat.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}
