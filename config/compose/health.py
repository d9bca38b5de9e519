"""Exit code 0 when Airflow reports a component as healthy: `health.py scheduler`."""

import json
import sys
from urllib.request import urlopen

with urlopen("http://api-server:8080/api/v2/monitor/health", timeout=10) as answer:
    status = json.load(answer)[sys.argv[1]]["status"]
sys.exit(status != "healthy")
