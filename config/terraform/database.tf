locals {
  databases = toset(["airflow", "orthostat"])
  # `orthostat` owns the tables. The others are made by config/kubernetes/database, because every user that
  # Cloud SQL's own interface makes is a cloudsqlsuperuser: it may drop databases and make roles.
  users = toset(["orthostat", "airflow", "airflow_worker", "statisticians"])
}

resource "google_sql_database_instance" "orthostat" {
  name                = "orthostat"
  database_version    = var.database_version
  region              = var.region
  deletion_protection = var.deletion_protection

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = var.database_availability
    disk_type         = "PD_SSD"
    disk_autoresize   = true

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.orthostat.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "03:00"
      point_in_time_recovery_enabled = true

      backup_retention_settings {
        retained_backups = 30
      }
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "orthostat" {
  for_each = local.databases

  name     = each.key
  instance = google_sql_database_instance.orthostat.name
}

# Passwords stand in URLs: letters and digits only.
resource "random_password" "users" {
  for_each = local.users

  length  = 40
  special = false
}

resource "google_sql_user" "owner" {
  name     = "orthostat"
  instance = google_sql_database_instance.orthostat.name
  password = random_password.users["orthostat"].result
  # It owns tables, so Cloud SQL would refuse to drop it; it goes with the instance.
  deletion_policy = "ABANDON"
}
