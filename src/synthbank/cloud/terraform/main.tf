# What a bank needs in a Google Cloud project. Values are in terraform.tfvars.json.
#   terraform init && terraform apply
#   terraform destroy      # takes it all away; the bucket and the database only where var.may_destroy is true

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.30, < 7.0"
    }
  }
}

variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "bucket" {
  type = string
}

variable "build_prefix" {
  description = "Folder of the bucket that holds source archives."
  type        = string
}

variable "prefix" {
  description = "Folder of the bank in the bucket."
  type        = string
}

variable "repository" {
  type = string
}

variable "service_account" {
  type = string
}

variable "database_instance" {
  type = string
}

variable "database" {
  type = string
}

variable "database_tier" {
  description = "Machine of the database: db-custom-CPUS-MEGABYTES."
  type        = string
  default     = "db-custom-1-3840"
}

variable "people" {
  description = "Who may use the bank, such as [\"user:ada@example.org\"]."
  type        = list(string)
  default     = []
}

variable "labels" {
  type    = map(string)
  default = {}
}

variable "may_destroy" {
  description = "Whether terraform destroy may take the bucket with its objects, and the database."
  type        = bool
  default     = false
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "needed" {
  for_each = toset([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "iamcredentials.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

# --- where things are kept ---

resource "google_storage_bucket" "bank" {
  name                        = var.bucket
  location                    = var.region
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.may_destroy
}

resource "google_artifact_registry_repository" "images" {
  repository_id = var.repository
  location      = var.region
  format        = "DOCKER"
  labels        = var.labels
  depends_on    = [google_project_service.needed]
}

resource "google_sql_database_instance" "catalogue" {
  name                = var.database_instance
  region              = var.region
  database_version    = "POSTGRES_16"
  deletion_protection = !var.may_destroy
  depends_on          = [google_project_service.needed]

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = "ZONAL"
    disk_size         = 10
    disk_autoresize   = true
    user_labels       = var.labels

    # An address, but no network is let in: connections come through the connector, with IAM.
    ip_configuration {
      ipv4_enabled = true
      ssl_mode     = "ENCRYPTED_ONLY"
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }
}

resource "google_sql_database" "catalogue" {
  name     = var.database
  instance = google_sql_database_instance.catalogue.name
}

resource "google_sql_user" "runner" {
  name     = trimsuffix(google_service_account.runner.email, ".gserviceaccount.com")
  instance = google_sql_database_instance.catalogue.name
  type     = "CLOUD_IAM_SERVICE_ACCOUNT"
}

# --- who does what ---

# Jobs and endpoints: objects of this one bucket, the database, and logs.
resource "google_service_account" "runner" {
  account_id   = var.service_account
  display_name = "SynthBank: jobs and endpoints"
}

resource "google_storage_bucket_iam_member" "runner" {
  bucket = google_storage_bucket.bank.name
  role   = "roles/storage.objectUser"
  member = google_service_account.runner.member
}

resource "google_project_iam_member" "runner" {
  for_each = toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser", "roles/logging.logWriter"])
  project  = var.project
  role     = each.value
  member   = google_service_account.runner.member
}

# The build: reads its source, writes the image and logs; nothing of the bank's database.
resource "google_service_account" "builder" {
  account_id   = "${var.service_account}-build"
  display_name = "SynthBank: builds the container"
}

resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.bank.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member

  condition {
    title      = "source archives only"
    expression = "resource.name.startsWith(\"projects/_/buckets/${var.bucket}/objects/${var.build_prefix}/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_project_iam_member" "builder" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

# People: start jobs and builds that run as the accounts above, and act as the runner to reach bucket and database.
locals {
  person_roles = ["roles/aiplatform.user", "roles/cloudbuild.builds.editor", "roles/serviceusage.serviceUsageConsumer"]
  grants       = { for pair in setproduct(var.people, local.person_roles) : join(" ", pair) => pair }
}

resource "google_project_iam_member" "people" {
  for_each = local.grants
  project  = var.project
  role     = each.value[1]
  member   = each.value[0]
}

resource "google_storage_bucket_iam_member" "people" {
  for_each = toset(var.people)
  bucket   = google_storage_bucket.bank.name
  role     = "roles/storage.objectUser"
  member   = each.value
}

resource "google_service_account_iam_member" "as_runner" {
  for_each           = toset(var.people)
  service_account_id = google_service_account.runner.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

resource "google_service_account_iam_member" "as_builder" {
  for_each           = toset(var.people)
  service_account_id = google_service_account.builder.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

resource "google_service_account_iam_member" "tokens_of_runner" {
  for_each           = toset(var.people)
  service_account_id = google_service_account.runner.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

output "bank" {
  description = "Settings of a command line that works on this bank."
  value = {
    SYNTHBANK_STORAGE_URL  = "gs://${var.bucket}/${var.prefix}"
    SYNTHBANK_DATABASE_URL = "cloudsql+postgresql://${google_sql_database_instance.catalogue.connection_name}/${var.database}"
  }
}

output "database_user" {
  description = "What needs the right to make tables, once: GRANT CREATE ON SCHEMA public TO \"...\"."
  value       = google_sql_user.runner.name
}
