#!/usr/bin/env python3
"""Checks that docker-compose.yml keeps its rules: exact tags, no default password, least rights.

Needs PyYAML (Debian: python3-yaml). It does not need a container engine.
"""

import re
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def problems(text):
    for variable in re.findall(r"\$\{(.*?)\}", text):
        if not re.fullmatch(r"\w+:\?.+", variable):
            yield f"${{{variable}}}: has a default, or no message for when it is not set"
    for name, service in yaml.safe_load(text)["services"].items():
        for key, wanted in {
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
        }.items():
            if service.get(key) != wanted:
                yield f"{name}: {key} must be {wanted}"
        for key in ("mem_limit", "pids_limit", "restart"):
            if key not in service:
                yield f"{name}: {key} is missing"
        if "build" not in service and not re.search(r":\d+\.\d+", service["image"]):
            yield f"{name}: {service['image']} is not an exact tag"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is published beyond this machine"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (REPOSITORY / source).exists():
                yield f"{name}: {source} does not exist"


found = list(problems((REPOSITORY / "docker-compose.yml").read_text()))
sys.exit("\n".join(f"docker-compose.yml: {problem}" for problem in found) or None)
