#!/bin/sh
# The arguments are those of llm-orchestrator, unless they begin with another program: the Apache Airflow chart
# starts its pods with bash -c "exec airflow scheduler", for example.
set -eu

case "${1:-}" in
    airflow | bash | celery | psql | pg_dump | python | python3 | sh) exec "$@" ;;
    *) exec llm-orchestrator "$@" ;;
esac
