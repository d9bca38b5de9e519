variable "project" {
  description = "ID of the project; it is there, with billing, before."
  type        = string
}

variable "region" {
  description = "Region of everything, near your images: traffic between regions costs."
  type        = string
}

variable "cluster_location" {
  description = "Zone of a zonal cluster, cheaper and down with its zone; null for a regional one in `region`."
  type        = string
  default     = null
}

variable "release_channel" {
  description = "How soon GKE brings new Kubernetes versions: RAPID, REGULAR, STABLE or EXTENDED."
  type        = string
  default     = "REGULAR"
}

variable "admin_cidrs" {
  description = "Address ranges that kubectl may come from, such as 203.0.113.0/24."
  type        = list(string)

  validation {
    condition     = length(var.admin_cidrs) > 0 && !contains(var.admin_cidrs, "0.0.0.0/0")
    error_message = "Name the ranges of your administrators; with none kubectl reaches nothing, with 0.0.0.0/0 everybody reaches it."
  }
}

variable "cpu_machine_type" {
  description = "Machine of Airflow and of compose and tabulate pods; the largest such pod must fit."
  type        = string
  default     = "e2-standard-8"
}

variable "cpu_nodes" {
  description = "At most so many CPU nodes; at least one runs Airflow."
  type        = number
  default     = 6
}

variable "gpu_type" {
  description = "Kind of GPU, the value of the node label cloud.google.com/gke-accelerator."
  type        = string
  default     = "nvidia-l4"
}

variable "gpu_machine_type" {
  description = "Machine with one GPU of that kind; an L4 needs a G2."
  type        = string
  default     = "g2-standard-8"
}

variable "gpu_nodes" {
  description = "At most so many GPU nodes, one GPU each; the slots of Airflow's pool `gpu`, and the pods' quota of GPUs."
  type        = number
  default     = 8
}

variable "gpu_zones" {
  description = "Zones of the region that have this GPU; more zones find spot machines sooner."
  type        = list(string)
}

variable "gpu_spot" {
  description = "Whether GPU nodes are spot machines: much cheaper, and taken back at any time, which costs one scene."
  type        = bool
  default     = true
}

variable "images_bucket" {
  description = "Name of the bucket of scenes, models, zones and samples; unique in the world."
  type        = string
}

variable "results_bucket" {
  description = "Name of the bucket of predictions, composites and releases; unique in the world."
  type        = string
}

variable "old_versions_days" {
  description = "Days that a replaced or deleted object can be brought back."
  type        = number
  default     = 30
}

variable "database_version" {
  description = "PostgreSQL version in Cloud SQL's words."
  type        = string
  default     = "POSTGRES_18"
}

variable "database_tier" {
  description = "Machine of the database: db-custom-CPUS-MEGABYTES."
  type        = string
  default     = "db-custom-2-7680"
}

variable "database_availability" {
  description = "REGIONAL keeps a standby in another zone, at twice the price; ZONAL does not."
  type        = string
  default     = "REGIONAL"
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be destroyed; releases cannot all be computed again."
  type        = bool
  default     = true
}
