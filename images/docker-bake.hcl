# The five images of images/Dockerfile. In the repository's root:
#   REGISTRY=registry.example.org/statistics VERSION=0.1.0 REVISION=$(git rev-parse HEAD) \
#       docker buildx bake -f images/docker-bake.hcl
# Add the names of those that you need, `--push` to upload, `--print` to see what would be built.

variable "REGISTRY" { # without one, images have no registry in their names
  default = ""
}
variable "VERSION" {
  default = "dev"
}
variable "REVISION" { # the commit
  default = ""
}
variable "SOURCE" { # where people can read the repository
  default = ""
}
variable "BASE" { # a base other than the Dockerfile's, such as your registry's copy of it
  default = ""
}

group "default" {
  targets = ["all"]
}

target "all" {
  name = image.name
  matrix = {
    image = [
      { name = "predict", target = "pod", lock = "predict/requirements.txt" },
      { name = "predict-cuda", target = "pod", lock = "predict/requirements-cuda.txt" },
      { name = "predict-raster-vision", target = "pod", lock = "predict-raster-vision/requirements.txt" },
      { name = "stats", target = "pod", lock = "stats/requirements.txt" },
      { name = "airflow", target = "airflow", lock = "airflow/requirements.txt" },
    ]
  }
  dockerfile = "images/Dockerfile"
  target     = image.target
  tags       = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}orthostat-${image.name}:${VERSION}"]
  args = {
    BASE         = BASE == "" ? null : BASE
    REQUIREMENTS = "images/${image.lock}"
    TITLE        = "orthostat-${image.name}"
    VERSION      = VERSION
    REVISION     = REVISION
    SOURCE       = SOURCE
  }
}
