#!/usr/bin/env bash
# The syntax of docker-compose.yml and Dockerfile, as far as this machine can tell; no engine is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then
    POSTGRES_PASSWORD=checked docker compose config --quiet
    if POSTGRES_PASSWORD='' docker compose config --quiet 2>/dev/null; then
        echo "docker-compose.yml must refuse to run without POSTGRES_PASSWORD" >&2
        exit 1
    fi
    echo "docker-compose.yml: valid"
elif python3 -c 'import yaml' 2>/dev/null; then
    python3 -c '
import yaml
c = yaml.safe_load(open("docker-compose.yml"))
volumes = c["volumes"]
for name, service in c["services"].items():
    assert "image" in service or "build" in service, name
    assert service["healthcheck"]["test"] or name == "rowcast", name
    for other in service.get("depends_on", {}):
        assert other in c["services"], other
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in volumes, volume
'
    echo "docker-compose.yml: parsed"
else
    echo "docker-compose.yml: not checked, there is neither docker compose nor PyYAML"
fi

awk '
    /^[[:space:]]*(#|$)/ && !more { next }
    !more && $1 !~ /^(FROM|RUN|COPY|WORKDIR|ENV|ARG|USER|EXPOSE|HEALTHCHECK|ENTRYPOINT|CMD|STOPSIGNAL|LABEL|VOLUME)$/ {
        print "Dockerfile:" NR ": not an instruction: " $1; bad = 1
    }
    { more = /\\$/ }
    END { if (more) { print "Dockerfile ends in the middle of an instruction"; bad = 1 } exit bad }
' Dockerfile
echo "Dockerfile: instructions known"
