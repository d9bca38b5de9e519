"""What a model's process finds in its environment: nothing that opens a door."""

import os
from pathlib import Path

import orthostat
from orthostat import settings

_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONHASHSEED")
_PASSED_ON_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OPENBLAS_", "MKL_")
"""What a model may see of the environment: where programs and libraries are, the language, the hardware."""
_ALLOCATOR = {
    # Else glibc gives the activations' memory back to the kernel after each layer, and asks for it again.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
_GDAL_CACHE_MB = 64


def clean_environment(scratch: Path) -> dict[str, str]:
    """The environment of a model's process: nothing in it opens a door or leads out of `scratch`."""
    threads = str(settings.threads())
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return {
        **passed,
        **_ALLOCATOR,
        **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME"), str(scratch)),
        "PYTHONPATH": str(Path(orthostat.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": threads,
        "GDAL_CACHEMAX": str(_GDAL_CACHE_MB),
        "GDAL_NUM_THREADS": threads,
        # An image is one file: what lies beside it (.aux.xml, .ovr, .msk) is neither read nor written.
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_PAM_ENABLED": "NO",
        "PROJ_NETWORK": "OFF",
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
        "NO_ALBUMENTATIONS_UPDATE": "1",  # else importing it asks the package index
    }
